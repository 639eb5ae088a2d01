"""Random models of one operator each, by name: a function of a seed that returns a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from eightfold.golden.graph import Graph, Quantization

from .models import Array, Builder

Case = Callable[[int], Graph]

CASES: dict[str, Case] = {}


def case(**variants: Any) -> Callable[[Callable[..., Graph]], Callable[..., Graph]]:
    """Register a function once per type: `case(dtype=("int8", "uint8"))` gives `conv_2d-int8` and so on."""

    def register(function: Callable[..., Graph]) -> Callable[..., Graph]:
        for dtype in variants.get("dtype", (None,)):
            for kind in variants.get("kind", (None,)):
                label = "-".join(part for part in (variants.get("prefix"), kind or function.__name__, dtype) if part)
                arguments = {k: v for k, v in (("dtype", dtype), ("kind", kind)) if v}
                CASES[label] = lambda seed, arguments=arguments: function(Builder(seed), **arguments)  # type: ignore[misc]
        return function

    return register


ACTIVATIONS = ("NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def covering(stride: int, kernel: int, dilation: int) -> int:
    """A stride that leaves out no pixel: with SAME padding, XNNPACK computes zeros where one does."""
    return int(min(stride, (kernel - 1) * dilation + 1))


def middle(b: Builder, dtype: str) -> int:
    """A zero point that leaves room on both sides."""
    return {"int8": 0, "uint8": 128, "int16": 0}[dtype] + (0 if dtype == "int16" else int(b.rng.integers(-40, 41)))


def out_scale(b: Builder, x: int, w: int, taps: int) -> float:
    """A scale that spreads the accumulators of random data over most of the output's range."""
    sx, sw = b.tensors[x].quantization, b.tensors[w].quantization
    assert sx is not None
    assert sw is not None
    # Uniform numbers of n values have a standard deviation of n / sqrt(12).
    wide = b.tensors[x].dtype == np.int16
    spread = (2**16 if wide else 2**8) * 256 / 12 * np.sqrt(taps) * float(sx.scale[0] * sw.scale.mean())
    return float(spread / (10000 if wide else 40) * b.scale(0.5, 2))


def weights(b: Builder, shape: tuple[int, ...], dtype: str, axis: int) -> int:
    """Per channel for int8 and int16 activations, one asymmetric scale for uint8."""
    if dtype == "uint8":
        return b.random(shape, "uint8", b.scale(0.001, 0.02), int(b.rng.integers(0, 256)))
    data = b.rng.integers(-127, 128, shape).astype(np.int8)
    if b.rng.random() < 0.25:
        return b.constant(data, b.scale(0.001, 0.02), axis=axis)
    scales = [b.scale(0.001, 0.02) for _ in range(shape[axis])]
    return b.constant(data, scales, axis=axis)


def bias(b: Builder, count: int, dtype: str) -> int:
    wide = dtype == "int16"
    values = b.rng.integers(-20000, 20000, count).astype(np.int64 if wide else np.int32)
    return b.constant(values)


def with_bias_scale(b: Builder, x: int, w: int, bias_index: int) -> None:
    """The bias's scale is the product of the others', as the format demands."""
    sx, sw = b.tensors[x].quantization, b.tensors[w].quantization
    assert sx is not None
    assert sw is not None
    scale = sx.scale[0] * sw.scale
    parameters = Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64))
    b.tensors[bias_index] = replace(b.tensors[bias_index], quantization=parameters)


@case(dtype=("int8", "uint8", "int16"))
def conv_2d(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    kh, kw = rng.integers(1, 5, 2)
    sh, sw = rng.integers(1, 4, 2)
    dh, dw = (1, 1) if rng.random() < 0.6 else rng.integers(1, 4, 2)
    cin, cout = rng.integers(1, 20, 2)
    height, width = int((kh - 1) * dh + rng.integers(1, 9)), int((kw - 1) * dw + rng.integers(1, 9))
    padding = str(rng.choice(["SAME", "VALID"]))
    if padding == "SAME":
        sh, sw = covering(sh, kh, dh), covering(sw, kw, dw)
    batch = int(rng.integers(1, 3))
    x = b.input((batch, height, width, cin), dtype, b.scale(), b.zero_point(dtype))
    w = weights(b, (int(cout), int(kh), int(kw), int(cin)), dtype, 0)
    c = bias(b, int(cout), dtype)
    with_bias_scale(b, x, w, c)

    def outputs(size: int, k: int, s: int, d: int) -> int:
        return -(-size // s) if padding == "SAME" else (size - (k - 1) * d - 1) // s + 1

    shape = (batch, outputs(height, kh, sh, dh), outputs(width, kw, sw, dw), cout)
    y = b.tensor(shape, dtype, out_scale(b, x, w, int(kh * kw * cin)), middle(b, dtype))
    b.operator(
        "CONV_2D",
        (x, w, c) if rng.random() < 0.8 or dtype == "uint8" else (x, w),
        (y,),
        padding=padding,
        stride_h=int(sh),
        stride_w=int(sw),
        dilation_h_factor=int(dh),
        dilation_w_factor=int(dw),
        fused_activation_function=str(rng.choice(ACTIVATIONS)),
    )
    return b.graph()


@case(dtype=("int8", "uint8", "int16"))
def depthwise_conv_2d(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    kh, kw, sh = (int(v) for v in rng.integers(1, 5, 3))
    sw = sh
    dh, dw = (1, 1) if rng.random() < 0.6 else (int(v) for v in rng.integers(1, 4, 2))
    channels, multiplier = int(rng.integers(1, 20)), int(rng.choice([1, 1, 2, 3, 8]))
    height, width = (kh - 1) * dh + int(rng.integers(1, 9)), (kw - 1) * dw + int(rng.integers(1, 9))
    padding = str(rng.choice(["SAME", "VALID"]))
    if padding == "SAME":
        sh = sw = min(covering(sh, kh, dh), covering(sw, kw, dw))
    x = b.input((1, height, width, channels), dtype, b.scale(), b.zero_point(dtype))
    w = weights(b, (1, kh, kw, channels * multiplier), dtype, 3)
    c = bias(b, channels * multiplier, dtype)
    with_bias_scale(b, x, w, c)

    def outputs(size: int, k: int, s: int, d: int) -> int:
        return -(-size // s) if padding == "SAME" else (size - (k - 1) * d - 1) // s + 1

    shape = (1, outputs(height, kh, sh, dh), outputs(width, kw, sw, dw), channels * multiplier)
    y = b.tensor(shape, dtype, out_scale(b, x, w, kh * kw), middle(b, dtype))
    b.operator(
        "DEPTHWISE_CONV_2D",
        (x, w, c),
        (y,),
        padding=padding,
        stride_h=sh,
        stride_w=sw,
        depth_multiplier=multiplier,
        dilation_h_factor=dh,
        dilation_w_factor=dw,
        fused_activation_function=str(rng.choice(ACTIVATIONS)),
    )
    return b.graph()


@case(dtype=("int8", "uint8", "int16"))
def fully_connected(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    rows, inputs, outputs = (int(v) for v in rng.integers(1, 40, 3))
    keep = bool(rng.random() < 0.3)
    shape = (2, rows, inputs) if keep else (rows, inputs)
    x = b.input(shape, dtype, b.scale(), b.zero_point(dtype))
    per_channel = dtype == "int8" and rng.random() < 0.4
    if per_channel:
        w = weights(b, (outputs, inputs), dtype, 0)
    elif dtype == "uint8":
        w = b.random((outputs, inputs), "uint8", b.scale(0.001, 0.02), int(rng.integers(0, 256)))
    else:
        w = b.constant(rng.integers(-127, 128, (outputs, inputs)).astype(np.int8), b.scale(0.001, 0.02))
    c = bias(b, outputs, dtype)
    with_bias_scale(b, x, w, c)
    y = b.tensor((*shape[:-1], outputs), dtype, out_scale(b, x, w, inputs), middle(b, dtype))
    b.operator(
        "FULLY_CONNECTED",
        (x, w, c) if rng.random() < 0.8 else (x, w),
        (y,),
        keep_num_dims=keep,
        fused_activation_function=str(rng.choice(ACTIVATIONS)),
    )
    return b.graph()


def broadcasting_shapes(b: Builder) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rng = b.rng
    shape = tuple(int(v) for v in rng.integers(1, 7, 4))
    choice = rng.integers(4)
    if choice == 0:
        return shape, shape
    if choice == 1:
        return shape, (1,)
    if choice == 2:
        return shape, (1, 1, 1, shape[3])
    return shape, (shape[0], 1, 1, shape[3])


@case(kind=("ADD", "SUB", "MUL"), dtype=("int8", "uint8", "int16"))
def arithmetic(b: Builder, kind: str, dtype: str) -> Graph:
    s1, s2 = broadcasting_shapes(b)
    if b.rng.random() < 0.3:
        s1, s2 = s2, s1
    x1 = b.input(s1, dtype, b.scale(), b.zero_point(dtype))
    x2 = b.input(s2, dtype, b.scale(), b.zero_point(dtype))
    scale = b.scale(0.02, 0.3) if dtype != "int16" or kind != "MUL" else b.scale(10, 300)
    y = b.tensor(np.broadcast_shapes(s1, s2), dtype, scale, b.zero_point(dtype))
    options: dict[str, Any] = {"fused_activation_function": str(b.rng.choice(ACTIVATIONS))}
    if dtype == "int16" and kind != "MUL":
        options["pot_scale_int16"] = False
    b.operator(kind, (x1, x2), (y,), **options)
    return b.graph()


@case(kind=("ADD", "SUB"), dtype=("int16",), prefix="powers_of_two")
def powers_of_two(b: Builder, kind: str, dtype: str) -> Graph:
    output = int(b.rng.integers(-14, -8))
    exponents = [output, output - int(b.rng.integers(0, 5))]
    b.rng.shuffle(exponents)
    x1, x2 = (b.input((5, 40), dtype, 2.0**exponent) for exponent in exponents)
    y = b.tensor((5, 40), dtype, 2.0**output)
    b.operator(kind, (x1, x2), (y,), pot_scale_int16=True, fused_activation_function="NONE")
    return b.graph()


@case(kind=("MINIMUM", "MAXIMUM"), dtype=("int8", "uint8", "int16"))
def extreme(b: Builder, kind: str, dtype: str) -> Graph:
    s1, s2 = broadcasting_shapes(b)
    scale, zero = b.scale(), b.zero_point(dtype)
    x1, x2 = b.input(s1, dtype, scale, zero), b.input(s2, dtype, scale, zero)
    y = b.tensor(np.broadcast_shapes(s1, s2), dtype, scale, zero)
    b.operator(kind, (x1, x2), (y,))
    return b.graph()


@case(kind=("AVERAGE_POOL_2D", "MAX_POOL_2D"), dtype=("int8", "uint8", "int16"))
def pool(b: Builder, kind: str, dtype: str) -> Graph:
    rng = b.rng
    fh, fw, sh, sw = (int(v) for v in rng.integers(1, 5, 4))
    height, width, channels = fh + int(rng.integers(0, 9)), fw + int(rng.integers(0, 9)), int(rng.integers(1, 20))
    padding = str(rng.choice(["SAME", "VALID"]))
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input((2, height, width, channels), dtype, scale, zero)

    def outputs(size: int, k: int, s: int) -> int:
        return -(-size // s) if padding == "SAME" else (size - k) // s + 1

    y = b.tensor((2, outputs(height, fh, sh), outputs(width, fw, sw), channels), dtype, scale, zero)
    b.operator(
        kind,
        (x,),
        (y,),
        padding=padding,
        filter_height=fh,
        filter_width=fw,
        stride_h=sh,
        stride_w=sw,
        fused_activation_function=str(rng.choice(ACTIVATIONS)),
    )
    return b.graph()


@case(dtype=("int8", "uint8"))
def softmax(b: Builder, dtype: str) -> Graph:
    shape = (int(b.rng.integers(1, 6)), int(b.rng.integers(1, 50)))
    x = b.input(shape, dtype, b.scale(0.001, 0.5), b.zero_point(dtype))
    y = b.tensor(shape, dtype, 1 / 256, -128 if dtype == "int8" else 0)
    b.operator("SOFTMAX", (x,), (y,), beta=float(b.rng.choice([1.0, 0.5, 2.0])))
    return b.graph()


@case(kind=("SUM",), dtype=("int8", "uint8"))
@case(kind=("MEAN",), dtype=("int8", "uint8", "int16"))
def mean(b: Builder, kind: str, dtype: str) -> Graph:
    rng = b.rng
    shape = tuple(int(v) for v in rng.integers(1, 9, 4))
    axes = [[1, 2], [2, 1], [3], [0, 1], [1, 2, 3], [-1], [0, 1, 2, 3]][int(rng.integers(7))]
    keep = bool(rng.random() < 0.5)
    dropped = {a % 4 for a in axes}
    x = b.input(shape, dtype, b.scale(), b.zero_point(dtype))
    y_shape = [1 if i in dropped else d for i, d in enumerate(shape) if keep or i not in dropped]
    scale = b.scale(0.002, 0.1) if kind == "MEAN" else b.scale(0.1, 1)
    y = b.tensor(y_shape, dtype, scale, b.zero_point(dtype))
    b.operator(kind, (x, b.constant(np.array(axes, np.int32))), (y,), keep_dims=keep)
    return b.graph()


@case(kind=("REDUCE_MAX", "REDUCE_MIN"), dtype=("int8", "uint8"))
def reduce_extreme(b: Builder, kind: str, dtype: str) -> Graph:
    shape = tuple(int(v) for v in b.rng.integers(1, 9, 4))
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input(shape, dtype, scale, zero)
    y = b.tensor((shape[0], shape[3]), dtype, scale, zero)
    b.operator(kind, (x, b.constant(np.array([1, 2], np.int32))), (y,), keep_dims=False)
    return b.graph()


@case(kind=("ARG_MAX", "ARG_MIN"), dtype=("int8", "uint8", "float32"))
def arg_extreme(b: Builder, kind: str, dtype: str) -> Graph:
    shape = tuple(int(v) for v in b.rng.integers(1, 6, 3))
    axis = int(b.rng.integers(0, 3))
    x = b.input(shape, dtype, b.scale(), b.zero_point(dtype))
    y = b.tensor([d for i, d in enumerate(shape) if i != axis], "int32")
    b.operator(kind, (x, b.constant(np.array(axis, np.int32))), (y,), output_type="INT32")
    return b.graph()


@case(kind=("ELU",), dtype=("int8",))
@case(kind=("LOGISTIC", "TANH"), dtype=("int8", "uint8"))
def table_function(b: Builder, kind: str, dtype: str) -> Graph:
    shape = (4, 256)
    x = b.input(shape, dtype, b.scale(0.005, 0.2), b.zero_point(dtype))
    unsigned = dtype == "uint8"
    scale, zero = (1 / 256, 0 if unsigned else -128) if kind == "LOGISTIC" else (1 / 128, 128 if unsigned else 0)
    y = b.tensor(shape, dtype, scale, zero)
    b.operator(kind, (x,), (y,))
    return b.graph()


@case(kind=("RELU", "RELU6", "RELU_N1_TO_1"), dtype=("int8", "uint8"))
def relu(b: Builder, kind: str, dtype: str) -> Graph:
    x = b.input((5, 61), dtype, b.scale(), b.zero_point(dtype))
    y = b.tensor((5, 61), dtype, b.scale(), b.zero_point(dtype))
    b.operator(kind, (x,), (y,))
    return b.graph()


@case(dtype=("int8", "uint8", "int16"))
def leaky_relu(b: Builder, dtype: str) -> Graph:
    x = b.input((5, 61), dtype, b.scale(), b.zero_point(dtype))
    y = b.tensor((5, 61), dtype, b.scale(), b.zero_point(dtype))
    b.operator("LEAKY_RELU", (x,), (y,), alpha=float(np.float32(b.rng.choice([0.1, 0.3, 0.01]))))
    return b.graph()


@case(dtype=("int8", "uint8"))
def prelu(b: Builder, dtype: str) -> Graph:
    x = b.input((2, 5, 6, 7), dtype, b.scale(), b.zero_point(dtype))
    alpha = b.random((1, 1, 7), dtype, b.scale(0.001, 0.01), b.zero_point(dtype))
    y = b.tensor((2, 5, 6, 7), dtype, b.scale(), b.zero_point(dtype))
    b.operator("PRELU", (x, alpha), (y,))
    return b.graph()


@case(dtype=("int8", "uint8"))
def hard_swish(b: Builder, dtype: str) -> Graph:
    x = b.input((4, 256), dtype, b.scale(0.01, 0.1), b.zero_point(dtype))
    y = b.tensor((4, 256), dtype, b.scale(0.02, 0.2), b.zero_point(dtype))
    b.operator("HARD_SWISH", (x,), (y,))
    return b.graph()


@case(kind=("QUANTIZE",), dtype=("int8", "uint8", "int16", "float32"))
def quantize(b: Builder, kind: str, dtype: str) -> Graph:
    target = str(
        b.rng.choice({"int8": ["int8", "uint8", "int16"], "int16": ["int8", "int16"]}.get(dtype, ["int8", "uint8"]))
    )
    x = b.input((7, 41), dtype, None if dtype == "float32" else b.scale(), b.zero_point(dtype))
    y = b.tensor((7, 41), target, b.scale(), b.zero_point(target))
    b.operator(kind, (x,), (y,))
    return b.graph()


@case(dtype=("int8", "uint8", "int16"))
def dequantize(b: Builder, dtype: str) -> Graph:
    shape = (int(b.rng.integers(1, 8)), int(b.rng.integers(1, 45)))
    x = b.input(shape, dtype, b.scale(), b.zero_point(dtype))
    b.operator("DEQUANTIZE", (x,), (b.tensor(shape, "float32"),))
    return b.graph()


@case(kind=("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), dtype=("int8", "uint8", "int16"))
def resize(b: Builder, kind: str, dtype: str) -> Graph:
    rng = b.rng
    height, width, h, w = (int(v) for v in rng.integers(1, 14, 4))
    align, half = [(False, False), (True, False), (False, True)][int(rng.integers(3))]
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input((2, height, width, 3), dtype, scale, zero)
    y = b.tensor((2, h, w, 3), dtype, scale, zero)
    size = b.constant(np.array([h, w], np.int32))
    b.operator(kind, (x, size), (y,), align_corners=align, half_pixel_centers=half)
    return b.graph()


def same(b: Builder, kind: str, dtype: str, x_shape: Any, y_shape: Any, *constants: Array, **options: Any) -> Graph:
    """An operator that moves data: input and output share their quantization."""
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input(x_shape, dtype, scale, zero)
    y = b.tensor(y_shape, dtype, scale, zero)
    b.operator(kind, (x, *(b.constant(c) for c in constants)), (y,), **options)
    return b.graph()


MOVED = ("int8", "uint8", "int16", "float32")


@case(dtype=MOVED)
def pad(b: Builder, dtype: str) -> Graph:
    shape, widths = b.rng.integers(1, 6, 4), b.rng.integers(0, 4, (4, 2)).astype(np.int32)
    return same(b, "PAD", dtype, shape.tolist(), (shape + widths.sum(axis=1)).tolist(), widths)


@case(dtype=MOVED)
def mirror_pad(b: Builder, dtype: str) -> Graph:
    shape, widths = b.rng.integers(4, 7, 4), b.rng.integers(0, 4, (4, 2)).astype(np.int32)
    mode = str(b.rng.choice(["REFLECT", "SYMMETRIC"]))
    return same(b, "MIRROR_PAD", dtype, shape.tolist(), (shape + widths.sum(axis=1)).tolist(), widths, mode=mode)


@case(dtype=MOVED)
def slice_(b: Builder, dtype: str) -> Graph:
    shape = b.rng.integers(1, 8, 4)
    begin = (b.rng.random(4) * shape).astype(np.int32)
    size = np.array([b.rng.integers(1, d - s + 1) for d, s in zip(shape, begin, strict=True)], np.int32)
    stated = size.copy()
    if b.rng.random() < 0.5:
        size[2] = shape[2] - begin[2]
        stated[2] = -1
    return same(b, "SLICE", dtype, shape.tolist(), size.tolist(), begin, stated)


@case(dtype=MOVED)
def strided_slice(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = rng.integers(2, 8, 4)
    begin = np.array([rng.integers(-d, d) for d in shape], np.int32)
    end = np.array([rng.integers(-d - 1, d + 2) for d in shape], np.int32)
    strides = rng.choice([1, 1, 2, -1, -2], 4).astype(np.int32)
    begin_mask, end_mask = int(rng.integers(16)), int(rng.integers(16))
    shrink = int(rng.choice([0, 0, 1, 4, 5]))
    strides[[bool(shrink >> i & 1) for i in range(4)]] = 1
    parts: list[Any] = []
    for i in range(4):
        if shrink >> i & 1:
            parts.append(int(begin[i]))
            continue
        start = None if begin_mask >> i & 1 else int(begin[i])
        stop = None if end_mask >> i & 1 else int(end[i])
        parts.append(slice(start, stop, int(strides[i])))
    result = np.zeros(shape, np.int8)[tuple(parts)]
    if result.size == 0:
        begin[:], end[:], strides[:], begin_mask, end_mask, shrink = 0, shape, 1, 0, 0, 0
        result = np.zeros(shape, np.int8)
    options = {"begin_mask": begin_mask, "end_mask": end_mask, "shrink_axis_mask": shrink}
    return same(b, "STRIDED_SLICE", dtype, shape.tolist(), result.shape, begin, end, strides, **options)


@case(dtype=MOVED)
def transpose(b: Builder, dtype: str) -> Graph:
    shape, order = b.rng.integers(1, 7, 4), b.rng.permutation(4).astype(np.int32)
    return same(b, "TRANSPOSE", dtype, shape.tolist(), shape[order].tolist(), order)


@case(kind=("SPACE_TO_DEPTH", "DEPTH_TO_SPACE"), dtype=("int8", "uint8", "float32"))
def depth(b: Builder, kind: str, dtype: str) -> Graph:
    n, h, w, c = (int(v) for v in b.rng.integers(1, 4, 4))
    block = int(b.rng.integers(2, 4))
    flat, deep = (n, h * block, w * block, c), (n, h, w, c * block * block)
    x_shape, y_shape = (flat, deep) if kind == "SPACE_TO_DEPTH" else (deep, flat)
    return same(b, kind, dtype, x_shape, y_shape, block_size=block)


@case(kind=("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), dtype=("int8", "uint8", "float32"))
def batch(b: Builder, kind: str, dtype: str) -> Graph:
    rng = b.rng
    block = rng.integers(1, 4, 2).astype(np.int32)
    before = rng.integers(0, 2, (2, 2)).astype(np.int32)
    spatial = block * rng.integers(1, 4, 2) + np.where(kind == "BATCH_TO_SPACE_ND", 0, 0)
    whole = block * (rng.integers(1, 4, 2) + before.sum(axis=1))
    inner = whole - before.sum(axis=1)
    n, c = 2, int(rng.integers(1, 5))
    small = (n, int(inner[0]), int(inner[1]), c)
    big = (n * int(block.prod()), int(whole[0] // block[0]), int(whole[1] // block[1]), c)
    del spatial
    x_shape, y_shape = (small, big) if kind == "SPACE_TO_BATCH_ND" else (big, small)
    return same(b, kind, dtype, x_shape, y_shape, block, before)


@case(dtype=MOVED)
def gather(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = tuple(int(v) for v in rng.integers(2, 6, 3))
    axis = int(rng.integers(0, 3))
    batch_dims = int(rng.integers(0, axis + 1)) if rng.random() < 0.4 else 0
    index_shape = (*shape[:batch_dims], *(int(v) for v in rng.integers(1, 4, int(rng.integers(1, 3)))))
    indices = rng.integers(0, shape[axis], index_shape).astype(np.int32)
    y_shape = (*shape[:axis], *index_shape[batch_dims:], *shape[axis + 1 :])
    return same(b, "GATHER", dtype, shape, y_shape, indices, axis=axis, batch_dims=batch_dims)


@case(dtype=MOVED)
def concatenation(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = [int(v) for v in rng.integers(1, 6, 4)]
    axis = int(rng.integers(-4, 4))
    scale, zero = b.scale(), b.zero_point(dtype)
    inputs, total = [], 0
    for _ in range(int(rng.integers(1, 5))):
        part = shape.copy()
        part[axis] = int(rng.integers(1, 5))
        total += part[axis]
        own = dtype == "uint8" and rng.random() < 0.5
        inputs.append(b.input(part, dtype, b.scale() if own else scale, b.zero_point(dtype) if own else zero))
    shape[axis] = total
    y = b.tensor(shape, dtype, scale, zero)
    b.operator("CONCATENATION", inputs, (y,), axis=axis, fused_activation_function="NONE")
    return b.graph()


@case(dtype=MOVED)
def split(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = [int(v) for v in rng.integers(1, 5, 4)]
    axis, count = int(rng.integers(-4, 4)), int(rng.integers(1, 4))
    whole = shape.copy()
    whole[axis] *= count
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input(whole, dtype, scale, zero)
    outputs = [b.tensor(shape, dtype, scale, zero) for _ in range(count)]
    b.operator("SPLIT", (b.constant(np.array(axis, np.int32)), x), outputs, num_splits=count)
    return b.graph()


@case(dtype=("int8", "uint8", "int16", "float32"))
def split_v(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = [int(v) for v in rng.integers(1, 5, 4)]
    axis, sizes = int(rng.integers(0, 4)), rng.integers(1, 5, int(rng.integers(1, 4))).astype(np.int32)
    whole = shape.copy()
    whole[axis] = int(sizes.sum())
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input(whole, dtype, scale, zero)
    outputs = []
    for size in sizes:
        part = shape.copy()
        part[axis] = int(size)
        outputs.append(b.tensor(part, dtype, scale, zero))
    if rng.random() < 0.5:
        sizes[-1] = -1
    operands = (x, b.constant(sizes), b.constant(np.array(axis, np.int32)))
    b.operator("SPLIT_V", operands, outputs, num_splits=len(outputs))
    return b.graph()


@case(dtype=("int8", "uint8", "float32"))
def pack(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = [int(v) for v in rng.integers(1, 5, 3)]
    axis, count = int(rng.integers(0, 4)), int(rng.integers(1, 4))
    scale, zero = b.scale(), b.zero_point(dtype)
    inputs = [b.input(shape, dtype, scale, zero) for _ in range(count)]
    y = b.tensor((*shape[:axis], count, *shape[axis:]), dtype, scale, zero)
    b.operator("PACK", inputs, (y,), values_count=count, axis=axis)
    return b.graph()


@case(dtype=("int8", "uint8", "float32"))
def unpack(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    shape = [int(v) for v in rng.integers(1, 5, 4)]
    axis = int(rng.integers(0, 4))
    scale, zero = b.scale(), b.zero_point(dtype)
    x = b.input(shape, dtype, scale, zero)
    rest = (*shape[:axis], *shape[axis + 1 :])
    outputs = [b.tensor(rest, dtype, scale, zero) for _ in range(shape[axis])]
    b.operator("UNPACK", (x,), outputs, num=shape[axis], axis=axis)
    return b.graph()


@case(dtype=("int8", "uint8", "int16"))
def reshape(b: Builder, dtype: str) -> Graph:
    target = np.array([4, -1], np.int32)
    return same(b, "RESHAPE", dtype, (2, 3, 4, 5), (4, 30), target, new_shape=(4, -1))


@case(dtype=("int8", "uint8", "float32"))
def squeeze(b: Builder, dtype: str) -> Graph:
    dims = ((), (0,), (0, 2), (-2,))[int(b.rng.integers(4))]
    dropped = {d % 4 for d in dims} or {0, 2}
    y_shape = [d for i, d in enumerate((1, 5, 1, 3)) if i not in dropped]
    return same(b, "SQUEEZE", dtype, (1, 5, 1, 3), y_shape, squeeze_dims=dims)


@case(dtype=("int8", "uint8", "float32"))
def expand_dims(b: Builder, dtype: str) -> Graph:
    axis = int(b.rng.integers(-3, 3))
    place = axis % 3
    shape = [4, 5]
    return same(b, "EXPAND_DIMS", dtype, shape, [*shape[:place], 1, *shape[place:]], np.array([axis], np.int32))


@case(dtype=("int8", "uint8", "int16"))
def transpose_conv(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    kh, kw, sh, sw = (int(v) for v in rng.integers(1, 4, 4))
    h, w, cin, cout = (int(v) for v in rng.integers(1, 7, 4))
    padding = str(rng.choice(["SAME", "VALID"]))
    if padding == "SAME":
        oh, ow = h * sh, w * sw
    else:
        oh, ow = (h - 1) * sh + kh, (w - 1) * sw + kw
    shape = b.constant(np.array([2, oh, ow, cout], np.int32))
    wt = weights(b, (cout, kh, kw, cin), dtype, 0)
    x = b.input((2, h, w, cin), dtype, b.scale(), b.zero_point(dtype))
    c = bias(b, cout, dtype)
    with_bias_scale(b, x, wt, c)
    y = b.tensor((2, oh, ow, cout), dtype, out_scale(b, x, wt, kh * kw * cin), middle(b, dtype))
    inputs = (shape, wt, x, c) if rng.random() < 0.7 else (shape, wt, x)
    b.operator(
        "TRANSPOSE_CONV", inputs, (y,), padding=padding, stride_h=sh, stride_w=sw, fused_activation_function="NONE"
    )
    return b.graph()


@case(dtype=("int8", "uint8"))
def log_softmax(b: Builder, dtype: str) -> Graph:
    shape = (int(b.rng.integers(1, 6)), int(b.rng.integers(1, 50)))
    x = b.input(shape, dtype, b.scale(0.001, 0.5), b.zero_point(dtype))
    y = b.tensor(shape, dtype, 16 / 256, 127 if dtype == "int8" else 255)
    b.operator("LOG_SOFTMAX", (x,), (y,))
    return b.graph()


@case(dtype=("int8", "uint8"))
def l2_normalization(b: Builder, dtype: str) -> Graph:
    shape = (2, 3, int(b.rng.integers(1, 50)))
    x = b.input(shape, dtype, b.scale(), b.zero_point(dtype))
    y = b.tensor(shape, dtype, 1 / 128, 0 if dtype == "int8" else 128)
    b.operator("L2_NORMALIZATION", (x,), (y,), fused_activation_function="NONE")
    return b.graph()


@case(dtype=("int8", "int16", "int32", "float32"))
def cast(b: Builder, dtype: str) -> Graph:
    target = str(b.rng.choice(["int32", "float32", "int16", "int8"]))
    x = b.input((4, 9), dtype)
    y = b.tensor((4, 9), target)
    b.operator("CAST", (x,), (y,), in_data_type=dtype.upper(), out_data_type=target.upper())
    return b.graph()


@case(dtype=("int8",))
def svdf(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    inputs, units, rank, steps = (
        int(v) for v in (rng.integers(1, 20), rng.integers(1, 8), rng.integers(1, 4), rng.integers(1, 9))
    )
    filters = units * rank
    x = b.input((1, inputs), dtype, b.scale(), b.zero_point(dtype))
    features = b.constant(rng.integers(-127, 128, (filters, inputs)).astype(np.int8), b.scale(0.001, 0.02))
    times = b.constant(rng.integers(-1000, 1001, (filters, steps)).astype(np.int16), b.scale(1e-5, 1e-4))
    c = b.constant(rng.integers(-2000, 2000, units).astype(np.int32), 1e-6)
    state = b.tensor((1, filters * steps), np.int16, b.scale(1e-4, 1e-3), variable=True)
    y = b.tensor((1, units), dtype, b.scale(0.02, 0.5), b.zero_point(dtype))
    with_c = c if rng.random() < 0.7 else -1
    b.operator("SVDF", (x, features, times, with_c, state), (y,), rank=rank, fused_activation_function="RELU")
    return b.graph()


@case(dtype=("int8",))
def grouped_convolution(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    groups, cin, cout, k = (int(v) for v in rng.integers(1, 5, 4))
    x = b.input((1, 7, 6, groups * cin), dtype, b.scale(), b.zero_point(dtype))
    w = weights(b, (groups * cout, k, k, cin), dtype, 0)
    c = bias(b, groups * cout, dtype)
    with_bias_scale(b, x, w, c)
    y = b.tensor((1, 7, 6, groups * cout), dtype, out_scale(b, x, w, k * k * cin), middle(b, dtype))
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "fused_activation_function": "NONE"}
    b.operator("CONV_2D", (x, w, c), (y,), **options)
    return b.graph()


@case(dtype=("int8",))
def lstm(b: Builder, dtype: str) -> Graph:
    rng = b.rng
    batch, steps, inputs, units = (int(v) for v in rng.integers(1, 6, 4))
    major, coupled = bool(rng.random() < 0.5), bool(rng.random() < 0.3)
    scale_h, zero_h = 1 / 128, int(rng.integers(-20, 20))
    x = b.input(
        (steps, batch, inputs) if major else (batch, steps, inputs), dtype, b.scale(0.01, 0.05), b.zero_point(dtype)
    )

    def part(shape: tuple[int, int]) -> int:
        return b.constant(rng.integers(-127, 128, shape).astype(np.int8), b.scale(0.002, 0.01))

    absent = [-1] if coupled else []
    forward = absent + [part((units, inputs)) for _ in range(4 - len(absent))]
    recurrent = absent + [part((units, units)) for _ in range(4 - len(absent))]
    biases = absent + [
        b.constant(rng.integers(-5000, 5000, units).astype(np.int32), 1e-4) for _ in range(4 - len(absent))
    ]
    state = b.tensor((batch, units), dtype, scale_h, zero_h, variable=True)
    cell = b.tensor((batch, units), np.int16, 2.0 ** -int(rng.integers(10, 13)), variable=True)
    y = b.tensor((*b.tensors[x].shape[:2], units), dtype, scale_h, zero_h)
    gates = [b.tensor((), np.int16, 2.0**-12) for _ in range(4)]
    hidden = b.tensor((), dtype, scale_h, zero_h)
    # The last four are for layer normalization.
    ends = (x, *forward, *recurrent, -1, -1, -1, *biases, -1, -1, state, cell, -1, -1, -1, -1)
    options = {"fused_activation_function": "TANH", "time_major": major, "cell_clip": float(rng.choice([0.0, 4.0]))}
    b.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", ends, (y,), **options)
    b.operators[-1] = replace(b.operators[-1], intermediates=(*gates, hidden))
    return b.graph()


@case(dtype=("int8", "uint8", "float32", "int32"))
def tile(b: Builder, dtype: str) -> Graph:
    shape, counts = b.rng.integers(1, 5, 3), b.rng.integers(1, 4, 3).astype(np.int32)
    return same(b, "TILE", dtype, shape.tolist(), (shape * counts).tolist(), counts)


@case(dtype=("int8", "uint8", "float32", "int32"))
def broadcast_to(b: Builder, dtype: str) -> Graph:
    small = np.where(b.rng.random(3) < 0.5, 1, b.rng.integers(1, 5, 3))
    large = np.where(small == 1, b.rng.integers(1, 5, 3), small).astype(np.int32)
    return same(b, "BROADCAST_TO", dtype, small.tolist(), large.tolist(), large)


@case(dtype=("int8", "float32", "int32"))
def reverse(b: Builder, dtype: str) -> Graph:
    shape = b.rng.integers(1, 5, 3).tolist()
    return same(b, "REVERSE_V2", dtype, shape, shape, np.array([b.rng.integers(0, 3)], np.int32))


@case(kind=("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"), dtype=("int8", "float32", "int32"))
def comparison(b: Builder, kind: str, dtype: str) -> Graph:
    s1, s2 = broadcasting_shapes(b)
    scale, zero = (None, 0) if dtype != "int8" else (b.scale(), b.zero_point(dtype))
    x1, x2 = b.input(s1, dtype, scale, zero), b.input(s2, dtype, scale, zero)
    b.operator(kind, (x1, x2), (b.tensor(np.broadcast_shapes(s1, s2), np.bool_),))
    return b.graph()


@case(kind=("LOGICAL_AND", "LOGICAL_OR"))
def logical(b: Builder, kind: str) -> Graph:
    s1, s2 = broadcasting_shapes(b)
    x1, x2 = b.input(s1, np.bool_), b.input(s2, np.bool_)
    b.operator(kind, (x1, x2), (b.tensor(np.broadcast_shapes(s1, s2), np.bool_),))
    return b.graph()


@case(kind=("SELECT", "SELECT_V2"), dtype=("int8", "float32", "int32"))
def select(b: Builder, kind: str, dtype: str) -> Graph:
    shape = tuple(int(v) for v in b.rng.integers(1, 5, 3))
    rows = kind == "SELECT" and b.rng.random() < 0.5
    scale, zero = (None, 0) if dtype != "int8" else (b.scale(), b.zero_point(dtype))
    condition = b.input(shape[:1] if rows else shape, np.bool_)
    x1, x2 = b.input(shape, dtype, scale, zero), b.input(shape, dtype, scale, zero)
    b.operator(kind, (condition, x1, x2), (b.tensor(shape, dtype, scale, zero),))
    return b.graph()


@case(dtype=("int8", "float32"))
def masked_slice(b: Builder, dtype: str) -> Graph:
    """STRIDED_SLICE with a new axis or an ellipsis."""
    shape = tuple(int(v) for v in b.rng.integers(2, 6, 3))
    place = int(b.rng.integers(0, 3))
    ellipsis = bool(b.rng.random() < 0.5)
    begin, end, stride = (np.array(v, np.int32) for v in ([0, 1, 0], [2, 2, 2], [1, 1, 1]))
    parts: list[Any] = [slice(int(s), int(e)) for s, e in zip(begin, end, strict=True)]
    parts[place] = Ellipsis if ellipsis else None
    result = np.zeros(shape, np.int8)[tuple(parts)].shape
    masks = {"ellipsis_mask": 1 << place} if ellipsis else {"new_axis_mask": 1 << place}
    return same(b, "STRIDED_SLICE", dtype, shape, result, begin, end, stride, **masks)
