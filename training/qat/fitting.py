"""Trains classifiers of the handwritten digits, at any resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..digits import Digits, real
from .graphs import TrainingGraph, freeze_batch_norm

Progress = Callable[[int, float], None]
"""Called after each batch with the images of it and its loss."""


@dataclass(frozen=True)
class Regime:
    """How long and how fast to train.

    Parameters
    ----------
    images
        That training sees in all, an image counted each time.
    rate
        The largest learning rate: a tenth of the training to get there, the rest to come down to nothing.
    batch
        Images per step.
    frozen
        The share of the training, at its end, in which batch normalization of a training graph is frozen.
    """

    images: int
    rate: float
    batch: int = 32
    frozen: float = 0.25

    @property
    def steps(self) -> int:
        """Batches."""
        return max(1, self.images // self.batch)


def enlarged(pixels: npt.NDArray[np.uint8], resolution: int) -> torch.Tensor:
    """Images of 8 x 8 pixels, `(n, 8, 8, 1)`, as a network's input: `(n, 1, resolution, resolution)`, from -1 to 1.

    Bilinear between pixels.
    """
    images = torch.from_numpy(real(pixels) * 2 - 1).permute(0, 3, 1, 2)
    size = (resolution, resolution)
    large = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
    return large.contiguous(memory_format=torch.channels_last)


def fit(
    model: nn.Module,
    digits: Digits,
    resolution: int,
    regime: Regime,
    *,
    seed: int,
    progress: Progress = lambda n, x: None,
) -> None:
    """Trains a model in place, on images shifted by up to one of their 8 pixels.

    The same model, seed and number of threads give the same weights.
    """
    model.train().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    # Weight decay is for weights: not for biases, nor for the factors of batch normalization.
    groups = [[p for p in model.parameters() if (p.ndim > 1) == large] for large in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": 1e-2}, {"params": groups[1], "weight_decay": 0.0}], lr=regime.rate
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=regime.rate,
        total_steps=max(regime.steps + 1, 11),  # of fewer, a tenth is no step, by which torch divides
        pct_start=0.1,
    )
    labels = torch.from_numpy(digits.train_labels.astype(np.int64))
    order = torch.empty(0, dtype=torch.int64)
    for step in range(regime.steps):
        if isinstance(model, TrainingGraph):
            freeze_batch_norm(model, step >= (1 - regime.frozen) * regime.steps)
        if len(order) < regime.batch:
            order = torch.cat([order, torch.randperm(len(labels), generator=generator)])
        chosen, order = order[: regime.batch], order[regime.batch :]
        dy, dx = (int(d) for d in torch.randint(0, 3, (2,), generator=generator))
        shifted = np.pad(digits.train_pixels[chosen.numpy()], ((0, 0), (1, 1), (1, 1), (0, 0)))
        images = enlarged(shifted[:, dy : dy + 8, dx : dx + 8], resolution)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels[chosen], label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(len(chosen), float(loss.detach()))


@torch.no_grad()
def held_out_accuracy(model: nn.Module, digits: Digits, resolution: int, *, batch: int = 32) -> float:
    """The share of the held-out images that a model in evaluation mode recognises."""
    model.eval()
    right = 0
    for start in range(0, len(digits.test_labels), batch):
        part = slice(start, start + batch)
        answers = model(enlarged(digits.test_pixels[part], resolution)).argmax(1).numpy()
        right += int((answers == digits.test_labels[part]).sum())
    return right / len(digits.test_labels)
