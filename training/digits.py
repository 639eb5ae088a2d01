"""Trains the digits network of `models/`: `python -m eightfold.training.digits`.

A small convolutional classifier of 8 x 8 handwritten digits, trained in float with PyTorch, its batch normalization
folded, quantized after training and written as a `.tflite` file, beside the float network and the data that were used.
The data are the UCI "Optical Recognition of Handwritten Digits" that scikit-learn ships. Needs the optional extra
`train`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from ..golden.graph import Graph
from ..golden.writer import save
from .evaluation import quantized_inputs
from .post_training import quantize_after_training
from .samples import Samples

TEST_IMAGES = 360
CALIBRATION_IMAGES = 500


@dataclass(frozen=True)
class Layer:
    """A 3 x 3 convolution: its output channels, stride and padding (`SAME` or `VALID`)."""

    channels: int
    stride: int = 1
    padding: str = "SAME"


LAYERS = (Layer(16), Layer(20), Layer(32, stride=2), Layer(40, padding="VALID"))
"""8x8x1 -> 8x8x16 -> 8x8x20 -> 4x4x32 -> 2x2x40 -> 10: 333,376 MACs, with channels that fill no array evenly."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Images `(n, 8, 8, 1)`, pixels 0 to 16 as uint8, with their labels `(n,)`, split into two sets."""

    train_pixels: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_pixels: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]

    @staticmethod
    def load(seed: int) -> Digits:
        """The 1,797 images, `TEST_IMAGES` of them held out, each digit in proportion."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        data = load_digits()
        pixels, labels = data.images[..., None].astype(np.uint8), data.target.astype(np.uint8)
        split = train_test_split(pixels, labels, test_size=TEST_IMAGES, random_state=seed, stratify=labels)
        return Digits(split[0], split[2], split[1], split[3])


def real(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels as the network's float input: 0 to 1."""
    return (pixels / 16).astype(np.float32)


def train(digits: Digits, *, seed: int, epochs: int) -> Graph:
    """Trains the network and returns it as a float graph, batch normalization folded.

    Deterministic for a seed, a PyTorch version and a processor type. Shifted copies of the images (by up to one pixel)
    keep the network from learning positions.
    """
    import torch
    from torch import nn

    from .qat.conversion import float_graph

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = _torch_network()
    images = torch.from_numpy(real(digits.train_pixels)).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(digits.train_labels.astype(np.int64))
    batch = 64
    steps = -(-len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch):
            dy, dx = (int(d) for d in torch.randint(0, 3, (2,)))
            shifted = nn.functional.pad(images[chosen], (1, 1, 1, 1))[:, :, dy : dy + 8, dx : dx + 8]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shifted), labels[chosen], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return float_graph(model, (1, 8, 8), name="digits", softmax=True)


def _torch_network() -> Any:
    from torch import nn

    modules: list[nn.Module] = []
    channels = 1
    for layer in LAYERS:
        # PyTorch pads both sides alike; TensorFlow's SAME at stride 2 pads an even image after its end only.
        if layer.padding == "SAME":
            modules.append(nn.ZeroPad2d((1, 1, 1, 1) if layer.stride == 1 else (0, 1, 0, 1)))
        modules.append(nn.Conv2d(channels, layer.channels, 3, layer.stride, bias=False))
        modules += [nn.BatchNorm2d(layer.channels), nn.ReLU()]
        channels = layer.channels
    modules += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(2 * 2 * channels, 10)]
    return nn.Sequential(*modules)


def samples(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> Samples:
    """Images and what they show, as calibration and measurement take them."""
    return Samples((real(pixels),), labels.astype(np.int64))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, quantizes, measures and writes the digits network in float and in int8, with its data."""
    parser = argparse.ArgumentParser(prog="python -m eightfold.training.digits", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder of the files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and batches (%(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="(%(default)s)")
    options = parser.parse_args(arguments)
    say = Console().print

    digits = Digits.load(options.seed)
    network = train(digits, seed=options.seed, epochs=options.epochs)
    part = slice(CALIBRATION_IMAGES)
    calibration = samples(digits.train_pixels[part], digits.train_labels[part])
    test = samples(digits.test_pixels, digits.test_labels)
    result = quantize_after_training(network, calibration, test=test)
    images = quantized_inputs(result.graph, test.inputs)[0]
    options.out.mkdir(parents=True, exist_ok=True)
    save(network, options.out / "digits_float.tflite")
    save(result.graph, options.out / "digits.tflite")
    np.savez_compressed(
        options.out / "digits_calibration.npz", inputs=calibration.inputs[0], labels=digits.train_labels[part]
    )
    np.savez_compressed(
        options.out / "digits.npz",
        inputs=test.inputs[0],
        images=images,
        pixels=digits.test_pixels,
        labels=digits.test_labels,
    )
    accuracy = result.measurement.accuracy
    if accuracy is None:
        raise RuntimeError("the test images have labels, and their accuracy was not measured")
    say(f"{len(digits.train_labels)} images to train on, {len(digits.test_labels)} held out")
    say(f"float: {accuracy.float32:.2%} of the held-out images")
    say(f"int8:  {accuracy.quantized:.2%}")


if __name__ == "__main__":
    main()
