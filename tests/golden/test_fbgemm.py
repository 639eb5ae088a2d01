"""FBGEMM's arithmetic: equal to PyTorch to the bit, and to its own equations where PyTorch is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from eightfold.golden import fbgemm
from eightfold.golden.graph import Quantization

# PyTorch 2.13.0, engine fbgemm.
STORED_LINEAR = [[152, 73, 0, 94, 0], [96, 84, 60, 136, 0], [63, 72, 0, 89, 0]]
STORED_DEPTHWISE = [
    [0, 164, 36, 0, 0, 0, 119, 55],
    [0, 172, 22, 0, 7, 0, 139, 0],
    [7, 205, 16, 47, 5, 0, 123, 0],
    [0, 195, 39, 0, 55, 0, 128, 0],
    [20, 143, 22, 0, 80, 0, 141, 0],
]


def affine(scale: Any, zero_point: Any) -> Quantization:
    return Quantization(np.atleast_1d(np.asarray(scale, np.float32)), np.atleast_1d(np.asarray(zero_point, np.int64)))


@dataclass
class Layer:
    """A random layer; `reach` bounds the weights, `rows` says whether each has a scale of its own."""

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    source: Quantization
    weight: Quantization
    output: Quantization

    @staticmethod
    def random(
        seed: int, x: tuple[int, ...], weights: tuple[int, ...], *, rows: bool = True, reach: int = 128
    ) -> Layer:
        random = np.random.default_rng(seed)
        count = weights[0] if rows else 1
        source = affine(random.uniform(0.001, 0.1), random.integers(0, 256))
        step = float(source.scale[0]) * random.uniform(0.3, 3) * np.sqrt(np.prod(weights[1:]))
        return Layer(
            random.integers(0, 256, x).astype(np.uint8),
            random.integers(-reach, reach, weights).astype(np.int8),
            (random.normal(size=weights[0]) * step * 60).astype(np.float32),
            source,
            affine(random.uniform(0.002, 0.03, count), random.integers(-30, 30, count)),
            affine(step, random.integers(0, 256)),
        )

    @property
    def quantizations(self) -> dict[str, Quantization]:
        return {"source": self.source, "weight": self.weight, "output": self.output}


def torch_engine() -> Any:
    torch = pytest.importorskip("torch")
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of PyTorch has no FBGEMM")
    torch.backends.quantized.engine = "fbgemm"
    return torch


def reach() -> int:
    """Without VNNI the general kernels, too, add pairs in int16; 7-bit weights cannot saturate there."""
    torch = torch_engine()
    return 128 if torch.cpu._is_vnni_supported() else 64


@pytest.mark.filterwarnings("ignore")
def torch_result(layer: Layer, *, relu: bool = False, **geometry: Any) -> np.ndarray:
    torch = torch_engine()
    two_dimensional = layer.weights.ndim == 4
    x, weights = torch.from_numpy(layer.x), torch.from_numpy(layer.weights)
    if two_dimensional:
        x, weights = x.permute(0, 3, 1, 2), weights.permute(0, 3, 1, 2).contiguous()
    scale, zero_point = layer.source.scale[0], layer.source.zero_point[0]
    x = torch._make_per_tensor_quantized_tensor(x, float(scale), int(zero_point))
    if layer.weight.per_axis:
        parameters = torch.from_numpy(layer.weight.scale).double(), torch.from_numpy(layer.weight.zero_point)
        weights = torch._make_per_channel_quantized_tensor(weights, *parameters, 0)
    else:
        parameters = float(layer.weight.scale[0]), int(layer.weight.zero_point[0])
        weights = torch._make_per_tensor_quantized_tensor(weights, *parameters)
    operators, bias = torch.ops.quantized, torch.from_numpy(layer.bias)
    output = float(layer.output.scale[0]), int(layer.output.zero_point[0])
    if not two_dimensional:
        packed = operators.linear_prepack(weights, bias)
        return (operators.linear_relu if relu else operators.linear)(x, packed, *output).int_repr().numpy()
    settings = [list(geometry[name]) for name in ("stride", "padding", "dilation")]
    packed = operators.conv2d_prepack(weights, bias, *settings, geometry["groups"])
    result = (operators.conv2d_relu if relu else operators.conv2d)(x, packed, *output)
    return result.int_repr().numpy().transpose(0, 2, 3, 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_linear_equals_torch(seed: int) -> None:
    limit = reach()
    random = np.random.default_rng(1000 + seed)
    samples, k, n = (int(v) for v in random.integers(1, (40, 300, 50)))
    layer = Layer.random(seed, (samples, k), (n, k), rows=seed % 3 > 0, reach=limit)
    relu = seed % 2 == 0
    ours = fbgemm.linear(layer.x, layer.weights, layer.bias, **layer.quantizations, relu=relu)
    np.testing.assert_array_equal(ours, torch_result(layer, relu=relu))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(60))
def test_convolution_equals_torch(seed: int) -> None:
    limit = reach()
    random = np.random.default_rng(2000 + seed)
    kernel = [int(v) for v in random.integers(1, 5, 2)]
    groups = [1, 1, 2, 3][seed % 4]
    channels, outputs = (int(v) * groups for v in random.integers(1, 20, 2))
    geometry: dict[str, Any] = {
        "stride": tuple(int(v) for v in random.integers(1, 4, 2)),
        "padding": tuple(int(random.integers(0, k)) for k in kernel),
        "dilation": tuple(int(v) for v in random.integers(1, 3, 2)),
        "groups": groups,
    }
    size = (2, *(int(v) for v in random.integers(9, 14, 2)), channels)
    layer = Layer.random(seed, size, (outputs, *kernel, channels // groups), rows=seed % 3 > 0, reach=limit)
    relu = seed % 2 == 0
    ours = fbgemm.convolution(layer.x, layer.weights, layer.bias, **layer.quantizations, **geometry, relu=relu)
    np.testing.assert_array_equal(ours, torch_result(layer, relu=relu, **geometry))


# channels, outputs per channel, kernel, stride, padding, dilation; whether PyTorch's sums saturate
DEPTHWISE = [
    (8, 1, (3, 3), (1, 1), (1, 1), (1, 1), True),
    (24, 1, (3, 3), (2, 2), (1, 1), (1, 1), True),
    (16, 2, (3, 3), (1, 2), (1, 1), (1, 1), True),
    (8, 1, (5, 5), (1, 1), (2, 2), (1, 1), True),
    (16, 2, (7, 7), (2, 1), (3, 3), (1, 1), True),
    (12, 1, (3, 3), (1, 1), (1, 1), (1, 1), False),
    (8, 3, (3, 3), (1, 1), (1, 1), (1, 1), False),
    (8, 1, (3, 3), (1, 1), (0, 0), (1, 1), False),
    (8, 1, (3, 3), (1, 1), (1, 0), (1, 1), False),
    (8, 1, (3, 3), (3, 3), (1, 1), (1, 1), False),
    (8, 1, (3, 3), (1, 1), (1, 1), (2, 2), False),
    (8, 1, (3, 5), (1, 1), (1, 2), (1, 1), False),
    (8, 1, (9, 9), (1, 1), (4, 4), (1, 1), False),
]


def depthwise(case: Any, rows: bool) -> tuple[Layer, dict[str, Any]]:
    channels, multiplier, kernel, stride, padding, dilation, _ = case
    layer = Layer.random(channels, (2, 11, 10, channels), (channels * multiplier, *kernel, 1), rows=rows)
    return layer, {"stride": stride, "padding": padding, "dilation": dilation, "groups": channels}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("case", DEPTHWISE)
def test_depthwise_equals_torch_where_it_saturates_and_where_not(case: Any, rows: bool) -> None:
    layer, geometry = depthwise(case, rows)
    if reach() < 128 and not case[-1]:
        pytest.skip("without VNNI the general kernels saturate in an order of their own")
    ours = fbgemm.convolution(layer.x, layer.weights, layer.bias, **layer.quantizations, **geometry)
    np.testing.assert_array_equal(ours, torch_result(layer, **geometry))


@pytest.mark.parametrize("case", DEPTHWISE)
def test_the_default_is_the_kernel_that_torch_takes(case: Any) -> None:
    layer, geometry = depthwise(case, rows=True)
    default, exact, pairs = (
        fbgemm.convolution(layer.x, layer.weights, **layer.quantizations, **geometry, saturating_pairs=choice)
        for choice in (None, False, True)
    )
    assert (exact != pairs).any()
    np.testing.assert_array_equal(default, pairs if case[-1] else exact)


def test_weights_of_seven_bits_cannot_saturate() -> None:
    layer = Layer.random(0, (2, 6, 6, 8), (8, 3, 3, 1), reach=63)
    results = [
        fbgemm.convolution(layer.x, layer.weights, **layer.quantizations, groups=8, saturating_pairs=pairs)
        for pairs in (False, True)
    ]
    np.testing.assert_array_equal(*results)


def test_linear_equals_its_equations_one_element_at_a_time() -> None:
    layer = Layer.random(7, (5, 33), (6, 33))
    ours = fbgemm.linear(layer.x, layer.weights, layer.bias, **layer.quantizations)
    f, zo = np.float32, int(layer.output.zero_point[0])
    for i in range(5):
        for j in range(6):
            terms = zip(layer.x[i].tolist(), layer.weights[j].tolist(), strict=True)
            zx, zw = int(layer.source.zero_point[0]), int(layer.weight.zero_point[j])
            accumulator = sum((a - zx) * (b - zw) for a, b in terms)
            product = f(layer.source.scale[0] * layer.weight.scale[j])
            real = f(f(accumulator) + f(layer.bias[j] / product))
            expected = int(np.rint(f(real * f(product / layer.output.scale[0])))) + zo
            assert ours[i, j] == min(max(expected, 0), 255)


def test_stored_results_of_torch() -> None:
    layer = Layer.random(3, (3, 20), (5, 20))
    assert fbgemm.linear(layer.x, layer.weights, layer.bias, **layer.quantizations).tolist() == STORED_LINEAR
    layer = Layer.random(4, (1, 5, 4, 8), (8, 3, 3, 1))
    result = fbgemm.convolution(layer.x, layer.weights, layer.bias, **layer.quantizations, padding=(1, 1), groups=8)
    assert result[0, :, 0].tolist() == STORED_DEPTHWISE


def test_a_kernel_of_the_image_s_size_is_a_dense_layer() -> None:
    layer = Layer.random(5, (4, 3, 5, 6), (7, 3, 5, 6))
    image = fbgemm.convolution(layer.x, layer.weights, layer.bias, **layer.quantizations)
    flat = fbgemm.linear(layer.x.reshape(4, -1), layer.weights.reshape(7, -1), layer.bias, **layer.quantizations)
    np.testing.assert_array_equal(image.reshape(4, 7), flat)


@pytest.mark.parametrize(("scale", "expected"), [(1e-6, [255, 0]), (2e-7, [0, 0])])
def test_what_int32_cannot_hold_becomes_its_least_value(scale: float, expected: list[int]) -> None:
    x = np.array([[255] * 16, [0] * 16], np.uint8)
    weights = np.full((1, 16), 127, np.int8)
    quantizations = {"source": affine(0.05, 100), "weight": affine(0.05, 0), "output": affine(scale, 7)}
    assert fbgemm.linear(x, weights, **quantizations).ravel().tolist() == expected


def test_bad_arguments_are_named() -> None:
    layer = Layer.random(6, (2, 4), (3, 4))
    q = layer.quantizations
    with pytest.raises(ValueError, match=r"types are int8 and int8"):
        fbgemm.linear(layer.weights, layer.weights, **q)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 4\)"):
        fbgemm.linear(layer.x[:, :3], layer.weights, **q)
    with pytest.raises(ValueError, match=r"bias has shape \(2,\), expected \(3,\)"):
        fbgemm.linear(layer.x, layer.weights, layer.bias[:2], **q)
    with pytest.raises(ValueError, match="weights have 2 scales along axis 0, expected 3"):
        fbgemm.linear(layer.x, layer.weights, **(q | {"weight": affine([1, 1], [0, 0])}))
    with pytest.raises(ValueError, match="activations have 2 scales"):
        fbgemm.linear(layer.x, layer.weights, **(q | {"source": affine([1, 1], [0, 0])}))
    image = Layer.random(6, (1, 3, 3, 2), (2, 3, 3, 2))
    with pytest.raises(ValueError, match="expected one channel per group"):
        fbgemm.convolution(image.x, image.weights, **image.quantizations, saturating_pairs=True)
    with pytest.raises(ValueError, match=r"kernel of \(5, 5\) does not fit a padded image of \(3, 3\)"):
        fbgemm.convolution(image.x, image.weights, **image.quantizations, dilation=(2, 2))


def test_a_sum_that_leaves_int32_is_refused() -> None:
    x, weights = np.full((1, 70_000), 255, np.uint8), np.full((1, 70_000), 127, np.int8)
    q = {"source": affine(1, 0), "weight": affine(1, 0), "output": affine(1, 0)}
    with pytest.raises(ValueError, match="a sum of 70000 products is 2266950000, which int32 cannot hold"):
        fbgemm.linear(x, weights, **q)
