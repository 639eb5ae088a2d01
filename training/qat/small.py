"""A small MobileNet v1 on the handwritten digits, trained in float and then with each scheme in the loop.

    python -m eightfold.training.qat.small --out out/small
    eightfold schemes out/small/float.tflite --calibration out/small/calibration.npz --test out/small/test.npz \\
        --trained out/small/trained-int8-channel.tflite

What calibration loses and training saves, on a network with depthwise convolutions that trains in a minute or two.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from ...golden.writer import save
from ..architectures import mobilenet_v1, random_parameters
from ..digits import Digits
from ..quantization import INT8, LEGACY, Scheme
from .conversion import convert, eval_graph, float_graph
from .fitting import Regime, enlarged, fit, held_out_accuracy
from .graphs import training_graph
from .modules import Network

WIDTH, RESOLUTION = 0.25, 64
CALIBRATION_IMAGES = 100

FLOAT = Regime(images=30_000, rate=1e-2)
QUANTIZED = Regime(images=4_000, rate=5e-4)

SCHEMES = {
    "int8-channel": INT8,
    "int8-tensor": Scheme(per_channel=False),
    "int8-tensor-symmetric": Scheme(per_channel=False, symmetric=True),
    "uint8": LEGACY,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the network, and writes it in float and in integers beside the data."""
    parser = argparse.ArgumentParser(prog="python -m eightfold.training.qat.small", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/small"), help="folder of the files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and batches (%(default)s)")
    parser.add_argument("--shrink", type=int, default=1, help="divide the images of every stage, for a trial")
    options = parser.parse_args(arguments)
    say = Console(soft_wrap=True, highlight=False).print
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)

    digits = Digits.load(options.seed)
    parameters = random_parameters(options.seed)
    model = Network(mobilenet_v1(WIDTH, RESOLUTION, 10, channels=1, parameters=parameters))
    fit(model, digits, RESOLUTION, _shrunk(FLOAT, options.shrink), seed=options.seed)
    save(float_graph(model.eval(), softmax=True), options.out / "float.tflite")
    say(f"float  {held_out_accuracy(model, digits, RESOLUTION):.2%}")
    for name, scheme in SCHEMES.items():
        trained = training_graph(model, scheme=scheme, momentum=0.1)
        fit(trained, digits, RESOLUTION, _shrunk(QUANTIZED, options.shrink), seed=options.seed + 1)
        simulation = eval_graph(trained, softmax=True)
        save(convert(simulation), options.out / f"trained-{name}.tflite")
        say(f"{name}  {held_out_accuracy(simulation, digits, RESOLUTION):.2%}")
    _store(options.out / "calibration.npz", digits.train_pixels[:CALIBRATION_IMAGES], digits.train_labels)
    _store(options.out / "test.npz", digits.test_pixels, digits.test_labels)


def _shrunk(regime: Regime, divisor: int) -> Regime:
    return Regime(max(1, regime.images // divisor), regime.rate, regime.batch, regime.frozen)


def _store(path: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> None:
    images = enlarged(pixels, RESOLUTION).permute(0, 2, 3, 1).contiguous().numpy()
    np.savez_compressed(path, inputs=images, labels=labels[: len(pixels)])


if __name__ == "__main__":
    main()
