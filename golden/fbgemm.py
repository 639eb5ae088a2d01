"""The arithmetic of FBGEMM, the server kernels of PyTorch, which differs from that of TensorFlow Lite.

Activations are uint8 and weights int8, each with zero points, those of the weights one per output channel (row). The
integer product is taken of the raw values, and the zero points are corrected afterwards by sums of rows and columns:

    sum((x - zx) (w - zw)) = sum(x w) - zw sum(x) - zx sum(w) + k zx zw                                  (1)

The sum over k is exact in int32. Bias and multiplier are float32, and every step rounds to float32:

    output = clamp(zo + rint((float(accumulator) + bias / (sx sw)) * (sx sw / so)))                      (2)

with ties to even. This was established by comparison with PyTorch's `quantized.linear` and `quantized.conv2d`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .graph import Quantization

Activations = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.int8]


def linear(
    x: Activations,
    weights: Weights,
    bias: npt.NDArray[np.float32] | None = None,
    *,
    source: Quantization,
    weight: Quantization,
    output: Quantization,
    relu: bool = False,
) -> Activations:
    """A dense layer.

    Parameters
    ----------
    x
        uint8, `(..., k)`.
    weights
        int8, `(n, k)`.
    bias
        float32 in real units, `(n,)`.
    source, weight, output
        Of `x` (per tensor), of `weights` (per tensor or per row) and of the result (per tensor).
    relu
        Whether negative results become zero, in the same step.

    Returns
    -------
    uint8, `(..., n)`.

    Raises
    ------
    ValueError
        Shapes, types or quantizations do not fit, or a sum leaves int32.
    """
    _check_types(x, weights)
    if weights.ndim != 2 or x.ndim < 1 or x.shape[-1] != weights.shape[1]:
        raise ValueError(f"shapes are {x.shape} and {weights.shape}, expected (..., k) and (n, k)")
    zx, zw = _zero_point(source), _rows(weight, weights)[1]
    products = (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)
    sums = x.sum(axis=-1, dtype=np.int64)[..., None]
    accumulators = _corrected(products, sums, weights, zx, zw)
    return _requantized(accumulators, weights, bias, source, weight, output, relu)


def convolution(
    x: Activations,
    weights: Weights,
    bias: npt.NDArray[np.float32] | None = None,
    *,
    source: Quantization,
    weight: Quantization,
    output: Quantization,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    relu: bool = False,
    saturating_pairs: bool | None = None,
) -> Activations:
    """A two-dimensional convolution.

    Parameters
    ----------
    x
        uint8, `(samples, height, width, channels)`.
    weights
        int8, `(outputs, kernel height, kernel width, channels / groups)`.
    bias, source, weight, output, relu
        As for `linear`; the rows of `weights` are its output channels.
    stride, dilation
        Down and across.
    padding
        Rows and columns of zero (that is, of the zero point) on each side.
    groups
        Output channels in as many groups, each of which sees its share of the input channels.
    saturating_pairs
        Whether sums of two neighbouring products, in raster order of the kernel, saturate to int16 (see `saturates`);
        None for what PyTorch does on x86. Depthwise only.

    Returns
    -------
    uint8, `(samples, height', width', outputs)`.

    Raises
    ------
    ValueError
        Shapes, types or quantizations do not fit, or a sum leaves int32.
    """
    _check_types(x, weights)
    if x.ndim != 4 or weights.ndim != 4 or len(weights) % groups or x.shape[3] != weights.shape[3] * groups:
        raise ValueError(f"shapes are {x.shape} and {weights.shape}, which do not fit a convolution in {groups} groups")
    if saturating_pairs is None:
        saturating_pairs = saturates(weights.shape, stride, padding, dilation, groups)
    elif saturating_pairs and weights.shape[3] != 1:
        raise ValueError(f"saturating pairs of {groups} groups of {weights.shape}: expected one channel per group")
    zx, zw = _zero_point(source), _rows(weight, weights)[1]
    windows = _windows(x, weights.shape[1:3], stride, padding, dilation, zx)
    # (samples, y, x, groups, ky, kx, channels of a group) and (groups, outputs of a group, ky, kx, channels of a group)
    windows = windows.reshape(*windows.shape[:3], groups, -1, *windows.shape[4:]).transpose(0, 1, 2, 3, 5, 6, 4)
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    if saturating_pairs:
        products = _saturating(windows, grouped)
    else:
        flat = windows.reshape(*windows.shape[:3], groups, 1, -1).astype(np.float64)
        columns = grouped.reshape(groups, grouped.shape[1], -1).transpose(0, 2, 1).astype(np.float64)
        products = (flat @ columns).astype(np.int64).reshape(*windows.shape[:3], len(weights))
    sums = np.repeat(windows.sum(axis=(4, 5, 6), dtype=np.int64), grouped.shape[1], axis=3)
    accumulators = _corrected(products, sums, weights, zx, zw)
    return _requantized(accumulators, weights, bias, source, weight, output, relu)


def saturates(
    weights: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> bool:
    """Whether PyTorch takes FBGEMM's fast depthwise kernel, whose intermediate sums saturate.

    That kernel adds products in pairs by the instruction VPMADDUBSW, which saturates to int16, and 2 * 255 * 127 does
    not fit. Weights within [-63, 63] cannot saturate, nor can activations within [0, 127], PyTorch's `reduce_range`.
    The condition was found by comparison with PyTorch 2.13 on a processor with VNNI; without VNNI the general kernels
    saturate, too, in an order that this module does not follow.

    Parameters
    ----------
    weights
        Their shape, `(outputs, kernel height, kernel width, channels / groups)`.
    """
    outputs, height, width, channels = weights
    return (
        channels == 1
        and groups % 8 == 0
        and outputs in (groups, 2 * groups)
        and height == width
        and height in (3, 5, 7)
        and padding == (height // 2, height // 2)
        and dilation == (1, 1)
        and max(stride) <= 2
    )


def _windows(
    x: Activations,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    zero_point: int,
) -> Activations:
    """`(samples, y, x, channels, ky, kx)`."""
    x = np.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)), constant_values=zero_point)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if extent[0] > x.shape[1] or extent[1] > x.shape[2]:
        raise ValueError(f"a kernel of {extent} does not fit a padded image of {x.shape[1:3]}")
    windows: Activations = np.lib.stride_tricks.sliding_window_view(x, extent, (1, 2))
    return windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def _saturating(windows: Activations, grouped: Weights) -> npt.NDArray[np.int64]:
    """`(samples, y, x, outputs)`: depthwise products, summed in pairs that saturate to int16, then exactly."""
    inputs = windows.reshape(*windows.shape[:4], 1, -1).astype(np.int64)
    taps = inputs * grouped.reshape(*grouped.shape[:2], -1)
    taps = np.pad(taps, [(0, 0)] * 5 + [(0, taps.shape[-1] % 2)])
    pairs = np.clip(taps[..., 0::2] + taps[..., 1::2], -(2**15), 2**15 - 1)
    sums: npt.NDArray[np.int64] = pairs.sum(axis=-1)
    return np.reshape(sums, (*windows.shape[:3], -1))


def _corrected(
    products: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
    weights: Weights,
    zx: int,
    zw: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Equation (1): `sums` of the inputs, broadcast against `(..., outputs)`; those of the weights are taken here."""
    rows = weights.reshape(len(weights), -1)
    offsets = zx * (rows.shape[1] * zw - rows.sum(axis=1, dtype=np.int64))
    accumulators: npt.NDArray[np.int64] = products - zw * sums + offsets
    largest = int(np.abs(accumulators).max(initial=0))
    if largest >= 2**31:
        raise ValueError(f"a sum of {rows.shape[1]} products is {largest}, which int32 cannot hold")
    return accumulators


def _requantized(
    accumulators: npt.NDArray[np.int64],
    weights: Weights,
    bias: npt.NDArray[np.float32] | None,
    source: Quantization,
    weight: Quantization,
    output: Quantization,
    relu: bool,
) -> Activations:
    """Equation (2)."""
    zo = _zero_point(output)
    products = source.scale.astype(np.float32) * _rows(weight, weights)[0]
    real = accumulators.astype(np.float32)
    if bias is not None:
        if bias.shape != (len(weights),):
            raise ValueError(f"bias has shape {bias.shape}, expected {(len(weights),)}")
        real = real + bias.astype(np.float32) / products
    with np.errstate(over="ignore"):
        scaled = np.rint(real * (products / output.scale.astype(np.float32))).astype(np.float64)
    # The conversion instruction turns what int32 cannot hold into its least value, whatever the sign.
    scaled[scaled >= 2**31] = -(2**31)
    return np.clip(scaled + zo, zo if relu else 0, 255).astype(np.uint8)


def _rows(weight: Quantization, weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    count = weight.scale.size
    if count not in (1, len(weights)) or (count > 1 and weight.axis != 0):
        raise ValueError(f"weights have {count} scales along axis {weight.axis}, expected {len(weights)} along axis 0")
    return weight.scale.astype(np.float32), weight.zero_point


def _zero_point(quantization: Quantization) -> int:
    if quantization.per_axis:
        raise ValueError(f"activations have {quantization.scale.size} scales, expected 1")
    return int(quantization.zero_point[0])


def _check_types(x: Activations, weights: Weights) -> None:
    if x.dtype != np.uint8 or weights.dtype != np.int8:
        raise ValueError(f"types are {x.dtype} and {weights.dtype}, expected uint8 and int8")
