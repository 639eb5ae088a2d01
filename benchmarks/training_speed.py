"""What rounding costs in training: steps of MobileNet v1 in float and with quantization in the loop, side by side.

python benchmarks/training_speed.py [--widths 0.25 1] [--resolutions 128] [--batch 16] [--steps 6]

Steps of both kinds alternate, forward, backward and update. The figure is the median of the processor's time on one
thread, so that other programs matter little; the aim is a ratio of at most 2.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time

import torch
from torch import nn

from eightfold.training.architectures import mobilenet_v1
from eightfold.training.qat import Network, training_graph


class Stepper:
    """A model, and how long its training steps take."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        self.model = model.train().to(memory_format=torch.channels_last)
        self.images = torch.randn(shape).to(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 10, shape[:1])
        self.optimizer = torch.optim.AdamW(model.parameters())
        self.seconds: list[float] = []

    def step(self) -> None:
        start = process_time()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()
        self.seconds.append(process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"steps of {arguments.batch} images, torch {torch.__version__}")
    print(f"{'network':24}{'float, ms':>11}{'8 bits, ms':>12}{'ratio':>8}")
    for width in arguments.widths:
        for resolution in arguments.resolutions:
            model = Network(mobilenet_v1(width, resolution, 10, channels=1))
            shape = (arguments.batch, *model.input_shape)
            pair = Stepper(model, shape), Stepper(training_graph(model), shape)
            for _ in range(arguments.steps + 2):
                for stepper in pair:
                    stepper.step()
            # The first two allocate.
            plain, rounding = (1000 * median(stepper.seconds[2:]) for stepper in pair)
            print(f"{model.name:24}{plain:11.0f}{rounding:12.0f}{rounding / plain:8.2f}")


if __name__ == "__main__":
    main()
