"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR on NHWC images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..numerics import Profile, round_half_away
from .node import Array, Evaluate, Node, kernel


def _sizes(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of the input and of the output."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    wanted = node.integers(1)
    if len(x.shape) != 4 or len(wanted) != 2 or min(*wanted, *x.shape[1:3]) < 1:
        raise node.fail(f"an image of the shape {list(x.shape)} cannot take the size {list(wanted)}")
    if node.option("align_corners") and node.option("half_pixel_centers"):
        raise node.fail("align_corners and half_pixel_centers exclude each other")
    node.expect_shape((x.shape[0], *wanted, x.shape[3]))
    return (x.shape[1], x.shape[2]), (wanted[0], wanted[1])


@kernel("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest_neighbor(node: Node) -> Evaluate:
    """The pixel at `floor((i + offset) * scale)`, in float32."""
    rows, columns = nearest_of(node)

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        return (x[:, rows[:, None], columns[None, :]],)

    return evaluate


def nearest_of(node: Node) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of RESIZE_NEAREST_NEIGHBOR: the input's row for each of the output, and its column for each."""
    before, after = _sizes(node)
    align, half = node.option("align_corners"), node.option("half_pixel_centers")

    def indices(size: int, outputs: int) -> npt.NDArray[np.int64]:
        aligned = align and outputs > 1
        scale = np.float32(size - 1) / np.float32(outputs - 1) if aligned else np.float32(size) / np.float32(outputs)
        position = (np.arange(outputs, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
        nearest = round_half_away(position) if align else np.floor(position)
        return np.clip(nearest.astype(np.int64), 0, size - 1)

    return indices(before[0], after[0]), indices(before[1], after[1])


@kernel("RESIZE_BILINEAR")
def resize_bilinear(node: Node) -> Evaluate:
    """Integers: coordinates with 10 fractional bits, the weighted sum rounded with ties away. Else: float32."""
    x = node.input(0)
    node.expect_type(x, "int8", "int16", "uint8", "float32")
    before, after = _sizes(node)
    if node.profile is Profile.XNNPACK and x.dtype.itemsize == 1:
        return _bilinear_eleven_bits(node, before, after)
    if x.dtype in (np.dtype(np.int8), np.dtype(np.int16)):
        return _bilinear_integer(node, before, after)
    return _bilinear_float(node, before, after)


def _bilinear_eleven_bits(node: Node, before: tuple[int, int], after: tuple[int, int]) -> Evaluate:
    """XNNPACK's: weights with 11 fractional bits, first along x, then along y, and one rounding, ties up."""
    align, half = node.option("align_corners"), node.option("half_pixel_centers")

    def coordinates(size: int, outputs: int) -> tuple[Array, Array, Array]:
        scale = np.float32(size) / np.float32(outputs)
        if align and outputs > 1:
            scale = np.float32(size - 1) / np.float32(outputs - 1)
        position = np.arange(outputs, dtype=np.float32) * scale
        if half:
            position = (np.arange(outputs, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        position = np.clip(position, np.float32(0), np.float32(size - 1))
        lower = position.astype(np.int64)
        weight = np.rint((position - lower.astype(np.float32)) * np.float32(2048)).astype(np.int64)
        return lower, np.minimum(lower + 1, size - 1), weight

    top, bottom, down = coordinates(before[0], after[0])
    left, right, along = coordinates(before[1], after[1])
    down, along = down[None, :, None, None], along[None, None, :, None]

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        wide = x.astype(np.int64)

        def row(part: Array) -> Array:
            start = part[:, :, left]
            mixed: Array = (start << 11) + (part[:, :, right] - start) * along
            return mixed

        upper = row(wide[:, top])
        total = (upper << 11) + (row(wide[:, bottom]) - upper) * down
        return (((total + (1 << 21)) >> 22).astype(x.dtype),)

    return evaluate


def _bilinear_integer(node: Node, before: tuple[int, int], after: tuple[int, int]) -> Evaluate:
    align, half = node.option("align_corners"), node.option("half_pixel_centers")
    one = 1 << 10

    def coordinates(size: int, outputs: int) -> tuple[Array, Array, Array]:
        aligned = align and outputs > 1
        over, under = (size - 1, outputs - 1) if aligned else (size, outputs)
        scale = (one * over + under // 2) // under
        position = np.arange(outputs, dtype=np.int64) * scale + (scale // 2 - one // 2 if half else 0)
        # C's division truncates, but what is negative becomes 0 either way.
        lower = np.maximum(position >> 10, 0)
        upper = np.minimum((position + one - 1) >> 10, size - 1)
        return lower, upper, position - (lower << 10)

    top, bottom, down = coordinates(before[0], after[0])
    left, right, along = coordinates(before[1], after[1])
    down, along = down[None, :, None, None], along[None, None, :, None]

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        wide = x.astype(np.int64)
        upper, lower = wide[:, top], wide[:, bottom]
        total = (upper[:, :, left] * (one - along) + upper[:, :, right] * along) * (one - down)
        total += (lower[:, :, left] * (one - along) + lower[:, :, right] * along) * down
        rounded = np.sign(total) * ((np.abs(total) + (1 << 19)) >> 20)
        return (rounded.astype(x.dtype),)

    return evaluate


def _bilinear_float(node: Node, before: tuple[int, int], after: tuple[int, int]) -> Evaluate:
    align, half = node.option("align_corners"), node.option("half_pixel_centers")

    def coordinates(size: int, outputs: int) -> tuple[Array, Array, Array]:
        aligned = align and outputs > 1
        scale = np.float32(size - 1) / np.float32(outputs - 1) if aligned else np.float32(size) / np.float32(outputs)
        numbers = np.arange(outputs, dtype=np.float32)
        position = (numbers + np.float32(0.5)) * scale - np.float32(0.5) if half else numbers * scale
        floor = np.floor(position).astype(np.int64)
        lower = np.maximum(floor, 0)
        upper = np.minimum(floor + 1, size - 1)
        return lower, upper, position - lower.astype(np.float32)

    top, bottom, down = coordinates(before[0], after[0])
    left, right, along = coordinates(before[1], after[1])
    down, along = down[None, :, None, None], along[None, None, :, None]
    optimized = node.profile is Profile.LITERT_OPT
    rounds = node.output.dtype == np.uint8

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        image, one = x.astype(np.float32), np.float32(1)
        upper, lower = image[:, top], image[:, bottom]
        if optimized:
            total = upper[:, :, left] * ((one - down) * (one - along))
            total += upper[:, :, right] * ((one - down) * along)
            total += lower[:, :, left] * (down * (one - along))
            total += lower[:, :, right] * (down * along)
            return ((total + np.float32(0.5)).astype(np.uint8) if rounds else total,)
        total = upper[:, :, left] * (one - down) * (one - along)
        total += lower[:, :, left] * down * (one - along)
        total += upper[:, :, right] * (one - down) * along
        total += lower[:, :, right] * down * along
        # The reference kernels add one half and truncate.
        return ((total + np.float32(0.5)).astype(np.uint8) if rounds else total,)

    return evaluate
