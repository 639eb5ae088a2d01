"""Training with quantization in the loop: torch modules, their training and eval graphs, and the integer networks."""

# ruff: noqa: E402  (torch is an extra)

from __future__ import annotations

import copy
from collections.abc import Callable
from operator import iadd
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from eightfold.compiler.compilation import compile
from eightfold.golden import affine
from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.golden.writer import save, write
from eightfold.hw.config import Config
from eightfold.sim.simulation import run as simulate
from eightfold.training.architectures import ds_cnn, mobilenet_v1, mobilenet_v2, resnet_8
from eightfold.training.qat import (
    Network,
    Simulation,
    TrainingGraph,
    compare,
    convert,
    eval_graph,
    float_graph,
    freeze_batch_norm,
    training_graph,
)
from eightfold.training.qat.ranges import rounded_weights
from eightfold.training.qat.tracing import trace
from eightfold.training.quantization import INT8, LEGACY, Scheme

from ..golden.oracle import LiteRT

torch.set_num_threads(1)  # small tensors, and other tests beside
nn = torch.nn
functional = torch.nn.functional

PER_TENSOR = Scheme(per_channel=False)
SCHEMES = pytest.mark.parametrize("scheme", [INT8, PER_TENSOR, LEGACY], ids=["per channel", "per tensor", "legacy"])


class Chain(nn.Module):
    """Padding that SAME has a name for and padding that it has not, a flattened image, two dense layers."""

    input_shape = (3, 9, 8)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ZeroPad2d((0, 1, 1, 1)),
            nn.Conv2d(3, 8, 3, 2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(8, 6, 2, 2, padding=1),
        )
        self.hidden = nn.Linear(6 * 3 * 3, 16, bias=False)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout()
        self.classify = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.features(x)
        x = self.hidden(x.view(x.size(0), -1))
        return self.classify(self.drop(functional.relu(self.norm(x))))


class Branches(nn.Module):
    """A residual addition, a concatenation of three with a shared range, pools, and a mean."""

    input_shape = (4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same", bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.right = nn.Conv2d(4, 6, 1)
        self.last = nn.Conv2d(14, 7, 1)

    def forward(self, x: Any) -> Any:
        left = torch.relu(self.left(x) + x)
        x = torch.cat(
            [left, functional.relu6(self.right(x)), functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 1)], 1
        )
        x = functional.relu(functional.avg_pool2d(x, 2))
        return self.last(x).mean((2, 3))


class Residual(nn.Module):
    """As torchvision writes them: modules that work in place, one of them used twice, and a sum in place."""

    input_shape = (3, 9, 9)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.relu = nn.ReLU(inplace=True)
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, affine=False))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.classify = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        identity = x
        x = self.second(self.relu(self.first(x)))
        x += identity
        x = functional.adaptive_avg_pool2d(self.relu(x), 1)
        return self.classify(x.squeeze(-1).squeeze(-1))


class Windows(nn.Module):
    """Convolutions with groups, dilation and padding of one side; pools over padding that counts and over all."""

    input_shape = (4, 9, 7)

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
        self.dilated = nn.Conv2d(8, 8, 3, dilation=2, padding="same")
        self.multiplied = nn.Conv2d(8, 16, 3, groups=8, dilation=(2, 1), bias=False)
        self.even = nn.Conv2d(16, 6, (2, 4), padding=(0, 1))
        self.pool = nn.AvgPool2d(3, 2, padding=1)
        self.last = nn.AdaptiveMaxPool2d(1)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.grouped(x)).clamp(0, 6)
        x = torch.clamp(self.dilated(x), min=0)
        x = functional.hardtanh(self.multiplied(functional.pad(x, (0, 1, 2, 0))), 0, 6)
        return self.last(self.pool(self.even(x).relu_())).flatten(1)


MODULES = pytest.mark.parametrize("kind", [Chain, Branches, Residual, Windows])


def shaken(model: Any, seed: int = 0) -> Any:
    """With statistics and factors of batch normalization that are not those of a fresh module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                if module.affine:
                    module.weight.uniform_(0.5, 2.0, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
                module.running_mean.normal_(generator=generator)
    return model


def images(model: Any, count: int = 8, seed: int = 1) -> Any:
    return torch.randn(count, *model.input_shape, generator=torch.Generator().manual_seed(seed))


def trained(model: Any, scheme: Scheme = INT8, steps: int = 12, **options: Any) -> TrainingGraph:
    """A training graph after some steps toward nothing in particular."""
    torch.manual_seed(0)
    graph = training_graph(model.train(), scheme=scheme, momentum=0.2, **options)
    optimizer = torch.optim.SGD(graph.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        graph(images(graph, seed=step + 2)).square().mean().backward()
        optimizer.step()
    return graph.eval()


def channels_last(x: Any) -> np.ndarray:
    return np.ascontiguousarray((x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy())


def quantized(network: Graph, x: Any) -> np.ndarray:
    source = network.inputs[0]
    return affine.quantize(channels_last(x), affine.known(source), source.dtype)


@MODULES
def test_the_float_graph_computes_what_the_module_computes(kind: Callable[[], Any]) -> None:
    model = shaken(kind()).eval()
    graph = float_graph(model)
    for x in images(model, 3).split(1):
        with torch.no_grad():
            expected = model(x).numpy()
        np.testing.assert_allclose(run(graph, [channels_last(x)]).outputs[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "graph",
    [mobilenet_v1(0.25, 32, 10, channels=1), mobilenet_v2(0.35, 32, 10), resnet_8(), ds_cnn()],
    ids=lambda graph: graph.name,
)
def test_a_described_network_is_the_same_as_a_module_and_as_a_graph(graph: Graph) -> None:
    model = Network(graph).eval()
    again = float_graph(model, softmax=True)
    assert [(o.kind, dict(o.options)) for o in again.operators] == [(o.kind, dict(o.options)) for o in graph.operators]
    x = images(model, 1)
    expected = run(graph, [channels_last(x)]).outputs[0]
    np.testing.assert_allclose(run(again, [channels_last(x)]).outputs[0], expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(torch.softmax(model(x), 1).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_module_without_batch_norm_or_with_softmax() -> None:
    graph = resnet_8()
    model = Network(graph, batch_norm=False, softmax=True).eval()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    x = images(model, 1)
    with torch.no_grad():
        result = model(x).numpy()
    np.testing.assert_allclose(result, run(graph, [channels_last(x)]).outputs[0], rtol=1e-4, atol=1e-6)


@MODULES
def test_before_the_delay_is_over_the_training_graph_is_the_module(kind: Callable[[], Any]) -> None:
    model = shaken(kind()).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    graph = training_graph(model, quant_delay=100)
    x = images(model)
    outputs = graph(x), model(x)
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().mean().backward()
    for ours, theirs in zip(weighted(graph), weighted(model), strict=True):
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(norms(graph), norms(model), strict=True):
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        assert int(ours.num_batches_tracked) == 1


def weighted(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def norms(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def test_the_module_stays_as_it_is() -> None:
    model = shaken(Chain()).train()
    before = copy.deepcopy(model.state_dict())
    trained(model)
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_rounding_starts_when_the_delay_is_over() -> None:
    graph = training_graph(shaken(Branches()), quant_delay=2, momentum=1.0)
    for step in range(4):
        output = graph(images(graph, seed=step)).detach()
        scale = float(graph.activations[list(graph.activations)[-1]].quantization().scale[0])
        off_grid = float((output / scale - (output / scale).round()).abs().max())
        assert (off_grid < 1e-3) == (step >= 2)


@SCHEMES
@MODULES
def test_eval_graph_and_integer_network_and_litert_are_the_same_integers(
    kind: Callable[[], Any], scheme: Scheme, tmp_path: Path
) -> None:
    simulation = eval_graph(trained(shaken(kind()), scheme), softmax=True)
    network = convert(simulation)
    x = images(simulation, 6, seed=5)
    for layer in compare(simulation, x.numpy()):
        assert layer.largest <= 1
        assert layer.mismatches <= layer.elements / 500, layer
    save(network, tmp_path / "network.tflite")
    again = read(tmp_path / "network.tflite")
    oracle = LiteRT((tmp_path / "network.tflite").read_bytes())
    for image in x.split(1):
        stored = quantized(network, image)
        oracle.run([stored])
        tensors = run(again, [stored]).tensors
        for operator in again.operators:
            np.testing.assert_array_equal(tensors[operator.outputs[0]], oracle.tensor(operator.outputs[0]))


@SCHEMES
def test_training_rounds_weights_to_the_integers_that_they_become(scheme: Scheme) -> None:
    graph = trained(shaken(Chain()), scheme)
    network = convert(eval_graph(graph))
    stored = [o for o in network.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    for operator, weighted in zip(stored, graph.weighted.values(), strict=True):
        factor = None if weighted.norm is None else weighted.factor()
        rounded = rounded_weights(weighted.module.weight, factor, scheme, "").detach()
        folded = rounded if factor is None else rounded * factor.reshape(-1, *[1] * (rounded.ndim - 1))
        tensor = network.tensors[operator.inputs[1]]
        assert tensor.data is not None
        expected = affine.dequantize(tensor.data, affine.known(tensor))
        # In any order: the layouts differ.
        np.testing.assert_allclose(
            np.sort(folded.numpy(), axis=None), np.sort(expected, axis=None), rtol=1e-4, atol=1e-6
        )


@SCHEMES
def test_the_training_graph_in_evaluation_mode_is_near_the_eval_graph(scheme: Scheme) -> None:
    model = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU6())
    model.input_shape = (3, 8, 8)
    graph = trained(shaken(model), scheme)
    simulation = eval_graph(graph)
    x = images(graph, 64, seed=9)
    with torch.no_grad():
        difference = (graph(x) - simulation(x)).abs()
    scale = float(affine.known(simulation.network.outputs[0]).scale[0])
    # Elements near the middle of two integers go either way.
    assert float(difference.max()) <= 1.01 * scale
    assert float((difference > scale / 2).float().mean()) < 0.02


@MODULES
def test_the_machine_computes_the_same(kind: Callable[[], Any]) -> None:
    network = convert(eval_graph(trained(shaken(kind()))))
    program = compile(network, Config.named("4x4"))
    result = simulate(program, quantized(network, images(kind(), 1)))
    assert result.bit_exact


def test_a_frozen_batch_norm_is_folded() -> None:
    graph = trained(shaken(Chain()))
    x = images(graph, 32)
    freeze_batch_norm(graph)
    graph.train()
    for module in graph.modules():
        if hasattr(module, "group"):
            module.eval()  # the ranges stay
    statistics = [n.running_var.clone() for n in norms(graph)]
    with torch.no_grad():
        frozen = graph(x)
        graph.eval()
        torch.testing.assert_close(graph(x), frozen)
    for norm, before in zip(norms(graph), statistics, strict=True):
        torch.testing.assert_close(norm.running_var, before)


def test_gradients_pass_inside_the_range_and_stop_outside() -> None:
    graph = training_graph(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU6()), (1, 1, 4), momentum=1.0)
    with torch.no_grad():
        graph.weighted["1_0"].module.weight.fill_(1.0)
    x = torch.tensor([-1.0, 0.5, 3.0, 7.0]).reshape(1, 1, 1, 4).requires_grad_()
    output = graph(x)
    output.sum().backward()
    torch.testing.assert_close(output.detach().flatten(), torch.tensor([0.0, 0.5, 3.0, 6.0]), atol=7 / 255, rtol=0)
    # The input's own range holds all four; the activation's goes from 0 to 6.
    torch.testing.assert_close(x.grad.flatten(), torch.tensor([0.0, 1.0, 1.0, 0.0]), atol=0.01, rtol=0)


def test_what_is_concatenated_shares_one_range() -> None:
    graph = trained(shaken(Branches()))
    network = convert(eval_graph(graph))
    (join,) = [o for o in network.operators if o.kind == "CONCATENATION"]
    scales = {float(affine.known(network.tensors[i]).scale[0]) for i in (*join.inputs, *join.outputs)}
    assert len(scales) == 1
    spans = [
        graph.source(i).range() for i in graph.layers[[x.kind for x in graph.layers].index("CONCATENATION")].inputs
    ]
    assert len(set(spans)) == 1


@SCHEMES
def test_weights_are_narrow(scheme: Scheme) -> None:
    network = convert(eval_graph(trained(shaken(Chain()), scheme)))
    for operator in network.operators:
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights, bias = (network.tensors[i] for i in operator.inputs[1:])
            quantization = affine.known(weights)
            assert weights.data is not None
            assert weights.data.min() >= (1 if scheme is LEGACY else -127)
            assert quantization.scale.size == (bias.shape[0] if scheme is INT8 else 1)
            assert scheme is LEGACY or not quantization.zero_point.any()


@SCHEMES
def test_zero_weights_and_constant_tensors_convert(scheme: Scheme) -> None:
    model = shaken(Chain())
    with torch.no_grad():
        model.features[1].weight[2] = 0  # a channel
        model.features[2].weight[3] = 0  # what batch norm multiplies by
        model.features[8].weight.zero_()  # a layer
        model.features[8].bias.zero_()
    graph = training_graph(model.train(), scheme=scheme)
    output = graph(images(graph))
    output.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in graph.parameters())
    simulation = eval_graph(graph.eval())
    assert max(layer.largest for layer in compare(simulation, images(graph).numpy())) <= 1
    layer = [o for o in simulation.network.operators if o.kind == "CONV_2D"][-1]
    assert affine.known(simulation.network.tensors[layer.outputs[0]]).scale[0] == 1


def check_pool(pool: Any, pixels: int, kinds: list[str]) -> None:
    """A pool after a ReLU becomes operators of these kinds; they compute what it does, in float and in integers."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), pool, nn.Conv2d(4, 2, 1))
    model.input_shape = (3, pixels, pixels)
    graph = float_graph(shaken(model).eval())
    assert [o.kind for o in graph.operators] == ["CONV_2D", *kinds, "CONV_2D"]
    x = images(model, 1)
    with torch.no_grad():
        expected = channels_last(model(x))
    np.testing.assert_allclose(run(graph, [channels_last(x)]).outputs[0], expected, rtol=1e-4, atol=1e-5)
    simulation = eval_graph(trained(model))
    assert sum(layer.mismatches for layer in compare(simulation, images(model).numpy())) == 0


def test_a_pool_after_a_relu_may_have_any_padding() -> None:
    check_pool(nn.MaxPool2d(3, 2, padding=1), 8, ["PAD", "MAX_POOL_2D"])


@pytest.mark.parametrize(
    ("pool", "pixels", "kinds"),
    [
        (nn.MaxPool2d(3, 2, ceil_mode=True), 8, ["MAX_POOL_2D"]),  # SAME
        (nn.MaxPool2d(3, 2, ceil_mode=True), 9, ["MAX_POOL_2D"]),  # VALID
        (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), 8, ["PAD", "MAX_POOL_2D"]),
        (nn.AvgPool2d(3, 2, ceil_mode=True), 8, ["AVERAGE_POOL_2D"]),
        (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), 8, ["PAD", "AVERAGE_POOL_2D"]),
    ],
)
def test_a_pool_may_begin_a_last_window_that_reaches_beyond_the_image(pool: Any, pixels: int, kinds: list[str]) -> None:
    check_pool(pool, pixels, kinds)


class Weird(nn.Module):
    """A module with one thing that cannot be quantized in an inner module."""

    input_shape = (2, 6, 6)

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(2, 2, 1), inner])

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class Sine(nn.Module):
    """A function without a rule."""

    def forward(self, x: Any) -> Any:
        return torch.sin(x)


class Function(nn.Module):
    """Any function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Twice(nn.Module):
    """Weights that are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.Conv2d(2, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.once(self.once(x))


class Deciding(nn.Module):
    """A path that depends on the data."""

    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (nn.GELU(), r"Weird: blocks\.1: GELU cannot be quantized"),
        (Sine(), r"Weird: blocks\.1\.sin: sin cannot be quantized"),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)), r"blocks\.1\.1: batch norm must follow a convolution"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), r"blocks\.1: padding_mode 'reflect'"),
        (nn.MaxPool2d(3, 2, padding=1), r"blocks\.1: the pool's padding \[1, 1, 1, 1\]"),
        (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), r"blocks\.1: the pool's padding \[1, 1, 1, 1\]"),
        (nn.ConvTranspose2d(2, 2, 2), r"blocks\.1: ConvTranspose2d cannot be quantized"),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2)), r"blocks\.1\.1: GroupNorm cannot be quantized"),
        (nn.LayerNorm(6), r"blocks\.1: LayerNorm cannot be quantized"),
        (nn.BatchNorm2d(2, track_running_stats=False), r"blocks\.1: batch norm without running statistics"),
        (nn.AdaptiveAvgPool2d(2), r"blocks\.1: an adaptive pool to \[2, 2\]"),
        (nn.ConstantPad2d(1, 2.0), r"blocks\.1: padding with 2\.0"),
        (nn.Flatten(), "the output is a flattened image"),
        (nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(72, 3)), r"blocks\.1\.1: reads a flattened image"),
        (nn.Linear(6, 3), r"blocks\.1: a linear layer on the shape \[2, 6, 6\]"),
        (nn.Hardtanh(-2, 2), r"blocks\.1: bounds of -2(\.0)? and 2"),
        (nn.Conv2d(3, 2, 1), r"Weird: fails on an input of the shape \[1, 2, 6, 6\]: Given groups=1"),
        (nn.BatchNorm1d(2), r"Weird: fails on an input of the shape \[1, 2, 6, 6\]: expected 2D or 3D input"),
        (Twice(), r"blocks\.1\.once: its weights are used twice"),
        (Deciding(), "Weird: cannot be traced"),
        (Function(lambda x: torch.clamp(x, -1, 1)), r"blocks\.1\.clamp: bounds of -1 and 1 cannot be quantized"),
        (Function(lambda x: torch.cat(x.chunk(2, 1), 1)), r"blocks\.1\.cat: concatenates what chunk gives"),
        (Function(lambda x: x + 1.0), r"blocks\.1\.add: operand 1 is 1\.0"),
        (
            Function(lambda x: functional.relu_(x) + x),
            r"blocks\.1\.relu_: overwrites in place what blocks\.1\.add reads",
        ),
        (Function(lambda x: functional.relu(x, inplace=True) + x), r"blocks\.1\.relu: overwrites in place"),
        (Function(lambda x: nn.ReLU()(x)), "Weird: cannot be traced: module is not installed as a submodule"),
        (Function(lambda x: iadd(x, x) + x), "Weird: computes something else when traced"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_quantized_is_named_with_its_place(
    inner: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=message):
        training_graph(Weird(inner))
    assert capsys.readouterr() == ("", "")


def test_an_input_shape_is_needed() -> None:
    with pytest.raises(ValueError, match="input_shape is None"):
        training_graph(nn.Sequential(nn.Conv2d(1, 1, 1)))


@pytest.mark.parametrize(
    ("options", "message"), [({"quant_delay": -1}, "quant_delay is -1"), ({"momentum": 0.0}, r"momentum is 0\.0")]
)
def test_odd_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_graph(Branches(), **options)


def test_numbers_that_are_not_finite_are_named_with_their_place() -> None:
    graph = training_graph(shaken(Chain()))
    with pytest.raises(ModelError, match=r"x: its values range from .*nan"):
        graph(torch.full((2, *graph.input_shape), torch.nan))
    with pytest.raises(ModelError, match=r"x: its values range from .*inf"):
        graph(torch.full((2, *graph.input_shape), torch.inf))
    broken = shaken(Chain())
    with torch.no_grad():
        broken.features[4].weight[0, 0, 0, 0] = torch.inf
    graph = training_graph(broken.train())
    with pytest.raises(ModelError, match=r"features\.4: its weights"):
        graph(images(graph))


def test_data_of_another_shape_are_refused() -> None:
    graph = training_graph(shaken(Branches()))
    with pytest.raises(ValueError, match=r"the input has the shape \[2, 4, 8, 9\]; expected \[4, 8, 8\]"):
        graph(torch.zeros(2, 4, 8, 9))
    with pytest.raises(ValueError, match=r"the input has the shape \[2, 4, 8, 9\]"):
        eval_graph(trained(shaken(Branches())))(torch.zeros(2, 4, 8, 9))


def test_a_range_that_was_never_seen_is_refused() -> None:
    with pytest.raises(ModelError, match="has no range yet"):
        eval_graph(training_graph(Branches()))


def test_graphs_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="model is a Branches; expected what training_graph returns"):
        eval_graph(Branches())
    with pytest.raises(TypeError, match="expected what eval_graph returns"):
        convert(trained(shaken(Branches())))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected quantized weights"):
        Simulation(resnet_8())


def test_training_goes_on_from_its_state() -> None:
    first = trained(shaken(Branches()))
    second = training_graph(Branches())
    second.load_state_dict(first.state_dict())
    assert write(convert(eval_graph(first))) == write(convert(eval_graph(second)))


def test_the_layers_of_a_module() -> None:
    layers = trace(Branches())
    assert [layer.kind for layer in layers] == [
        "INPUT",
        "CONV_2D",
        "ADD",
        "CONV_2D",
        "PAD",
        "MAX_POOL_2D",
        "CONCATENATION",
        "AVERAGE_POOL_2D",
        "RELU",
        "CONV_2D",
        "AVERAGE_POOL_2D",
        "RESHAPE",
    ]
    assert [layer.activation for layer in layers[1:4]] == ["RELU", "RELU", "RELU6"]


def test_parameters_of_half_precision_are_refused() -> None:
    with pytest.raises(ModelError, match=r"its parameters are torch\.float16; expected torch\.float32"):
        training_graph(Branches().half())
