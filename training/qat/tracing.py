"""Reads an ordinary torch module as a list of layers: what TensorFlow Lite would call its operators.

`torch.fx` follows one input through the module. Batch normalization joins the convolution before it, an activation the
layer before it, zeros around an image the convolution that they are for, and what does nothing after training
(Dropout, Identity) goes. What has no counterpart among the operators is refused by its name and place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ...golden.graph import ModelError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Kinds of layers that have weights."""

_FUSING = (*WEIGHTED, "ADD")

Pads = tuple[int, int, int, int]
"""Pixels around an image: above, below, left, right."""


@dataclass(frozen=True)
class Window:
    """A window that slides over an image: rows and columns of it, of its stride, and the pixels around the image.

    `padding` is what TensorFlow Lite calls these pixels: "SAME", "VALID", or None where it has no name for them.
    `dilation` is the distance between the pixels that it reads.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads = (0, 0, 0, 0)
    padding: str | None = "VALID"
    dilation: tuple[int, int] = (1, 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from the first pixel that it reads to the last."""
        rows, columns = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return rows, columns


@dataclass(frozen=True, eq=False)
class Layer:
    """One operator of the network.

    Parameters
    ----------
    place
        Where the module has it: `features.3`.
    kind
        The operator's name in TensorFlow Lite; INPUT for the network's input.
    inputs
        Numbers of the layers that it reads.
    shape
        Of its output, as torch lays it, without the batch.
    module
        The convolution or linear layer that holds the weights.
    norm
        The batch normalization after it.
    activation
        NONE, RELU or RELU6.
    window
        Of convolutions and pools; of PAD only the pads count.
    columns
        Of a dense layer that reads a flattened image: the image's (channels, rows, columns). Torch flattens channels
        first, TensorFlow Lite last.
    """

    place: str
    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    module: nn.Module | None = None
    norm: nn.Module | None = None
    activation: str = "NONE"
    window: Window | None = None
    columns: tuple[int, ...] | None = None


def trace(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> tuple[Layer, ...]:
    """The layers of a module of one input, in order of computation; the first is the input, the last the output.

    Parameters
    ----------
    model
        Its modules are referred to, not copied.
    input_shape
        Of one sample, as torch lays it: `(channels, rows, columns)` or `(features,)`. A module that knows its own has
        an attribute of this name.

    Raises
    ------
    ModelError
        What cannot be quantized, with its place; an input that does not fit.
    """
    shape = getattr(model, "input_shape", None) if input_shape is None else input_shape
    if shape is None:
        raise ValueError("input_shape is None, and the module has no attribute of this name; expected one sample's")
    name = type(model).__name__
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:  # whatever the module's own code does with a proxy
        raise ModelError(f"{name}: cannot be traced: {error}") from error
    if len(traced.graph.find_nodes(op="placeholder")) != 1:
        raise ModelError(f"{name}: expected one input")
    parameter = next(iter(model.parameters()), torch.empty(0))
    if parameter.dtype not in (torch.float32, torch.float64):
        raise ModelError(f"{name}: its parameters are {parameter.dtype}; expected torch.float32 (`model.float()`)")
    # In evaluation mode, or the statistics of batch norm would take this sample in.
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            # The module itself goes first: where it fails, it says so and prints nothing.
            faithful = _agree(model, traced, torch.Size((1, *shape)), parameter.dtype)
            ShapeProp(traced).propagate(torch.zeros(1, *shape, dtype=parameter.dtype))
    except Exception as error:  # whatever the module's own code raises
        raise ModelError(f"{name}: fails on an input of the shape {[1, *shape]}: {error}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not faithful:
        raise ModelError(
            f"{name}: computes something else when traced: where `y = x; x += z` changes y too, tracing sees a new x"
        )
    return _Reader(name, traced).read()


def _agree(model: nn.Module, traced: nn.Module, shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether a module and what tracing made of it compute the same for one input."""
    outputs = []
    with torch.random.fork_rng(devices=[]):
        for module in (model, traced):
            torch.manual_seed(0)  # Dropout that is on in evaluation mode too drops the same
            outputs.append(module(torch.rand(shape, dtype=dtype)))
    if not all(isinstance(output, torch.Tensor) for output in outputs):
        return True  # refused by whoever reads the layers
    return bool(torch.allclose(*outputs, rtol=1e-3, atol=1e-5, equal_nan=True))


class _Tracer(fx.Tracer):
    """Looks into every module but torch's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return bool(super().is_leaf_module(m, module_qualified_name)) and not isinstance(m, nn.Sequential)


class _Reader:
    """Goes through the nodes of a traced module and makes layers of them."""

    def __init__(self, name: str, traced: fx.GraphModule) -> None:
        self.name = name
        self.traced = traced
        self.layers: list[Layer] = []
        self.where: dict[fx.Node, int] = {}
        self.alone: dict[fx.Node, bool] = {}  # whether nothing else reads what the node gives
        self.flat: dict[int, tuple[int, ...]] = {}  # layers that flattened an image of more than one pixel
        self.used: set[int] = set()  # modules with weights that were met
        self.order = {node: number for number, node in enumerate(traced.graph.nodes)}

    def read(self) -> tuple[Layer, ...]:
        result = None
        for node in self.traced.graph.nodes:
            if node.op == "output":
                result = node.args[0]
            else:
                self.node(node)
        if not isinstance(result, fx.Node) or result not in self.where:
            raise ModelError(f"{self.name}: expected one tensor as output")
        last = self.where[result]
        if last in self.flat:
            raise self.fail(result, "the output is a flattened image, whose order torch and TensorFlow Lite differ in")
        return _with_padding(_needed(self.layers, last))

    def node(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.add(node, "INPUT")
            return
        if node.op == "get_attr":
            raise self.fail(node, f"reads the tensor {node.target} by itself; only layers may have weights")
        if "tensor_meta" not in node.meta or not hasattr(node.meta["tensor_meta"], "shape"):
            return  # sizes and the like; whoever reads them shows in its own shape
        handler, arguments = self.handler(node)
        if self.in_place(node):
            self.check_read_before(node)
        handler(self, node, *arguments)

    def handler(self, node: fx.Node) -> tuple[Callable[..., None], tuple[Any, ...]]:
        if node.op == "call_module":
            module = self.traced.get_submodule(node.target)
            for kind, handler in _MODULES.items():
                if isinstance(module, kind):
                    return handler, (module,)
            raise self.fail(node, f"{type(module).__name__} cannot be quantized")
        table: Mapping[Any, Callable[..., None]] = _METHODS if node.op == "call_method" else _FUNCTIONS
        if node.target not in table:
            raise self.fail(node, f"{getattr(node.target, '__name__', node.target)} cannot be quantized")
        return table[node.target], ()

    def in_place(self, node: fx.Node) -> bool:
        """Whether a node overwrites its first operand."""
        if node.op == "call_module":
            return bool(getattr(self.traced.get_submodule(node.target), "inplace", False))
        name = str(getattr(node.target, "__name__", node.target))
        return name.endswith("_") or node.target is operator.iadd or bool(_argument(node, len(node.args), "inplace", 0))

    def check_read_before(self, node: fx.Node) -> None:
        """Refuses a node that overwrites what later nodes read: they would read another value than here."""
        number = self.where[self.source(node)]
        for alias in (other for other, layer in self.where.items() if layer == number):
            for reader in alias.users:
                if self.order[node] < self.order[reader]:
                    raise self.fail(node, f"overwrites in place what {self.place(reader)} reads; expected a new tensor")

    def fail(self, node: fx.Node, message: str) -> ModelError:
        return ModelError(f"{self.name}: {self.place(node)}: {message}")

    def place(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return str(node.target)
        stack = node.meta.get("nn_module_stack")
        inside = next(reversed(stack.values()))[0] if stack else ""
        return f"{inside}.{node.name}" if inside else str(node.name)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(node.meta["tensor_meta"].shape[1:])

    def source(self, node: fx.Node, position: int = 0) -> fx.Node:
        value = node.args[position] if len(node.args) > position else None
        if not isinstance(value, fx.Node) or value not in self.where:
            raise self.fail(node, f"operand {position} is {value!r}; expected a tensor that the input led to")
        return value

    def add(self, node: fx.Node, kind: str, *sources: fx.Node, **fields: Any) -> None:
        for source in sources:
            if self.where[source] in self.flat and kind != "FULLY_CONNECTED":
                raise self.fail(node, "reads a flattened image; only a linear layer may")
        self.where[node] = len(self.layers)
        self.alone[node] = len(node.users) == 1
        inputs = tuple(self.where[s] for s in sources)
        self.layers.append(Layer(self.place(node), kind, inputs, self.shape(node), **fields))

    def extra(self, layer: Layer) -> int:
        """The number of a layer that stands for part of a node."""
        self.layers.append(layer)
        return len(self.layers) - 1

    def same(self, node: fx.Node, *_: Any) -> None:
        """A node that gives what it was given."""
        source = self.source(node)
        self.where[node] = self.where[source]
        self.alone[node] = len(node.users) == 1 and self.alone[source]

    def merge(self, node: fx.Node, **fields: Any) -> None:
        """A node that becomes part of the layer before it."""
        self.same(node)
        self.layers[self.where[node]] = replace(self.layers[self.where[node]], **fields)

    # Layers with weights.

    def weighted(self, node: fx.Node, module: nn.Module) -> None:
        if id(module) in self.used:
            raise self.fail(node, "its weights are used twice; expected a layer for each use")
        self.used.add(id(module))

    def convolution(self, node: fx.Node, module: nn.Conv2d) -> None:
        self.weighted(node, module)
        if module.padding_mode != "zeros":
            raise self.fail(node, f"padding_mode {module.padding_mode!r} cannot be quantized; expected 'zeros'")
        depthwise = module.groups == module.in_channels > 1
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        window = Window(module.kernel_size, module.stride, padding=None, dilation=module.dilation)
        if not isinstance(module.padding, str):
            rows, columns = module.padding
            window = replace(window, pads=(rows, rows, columns, columns))
        elif module.padding == "same":
            window = replace(window, pads=_centered(window.extent))
        self.add(node, kind, self.source(node), module=module, window=window)

    def linear(self, node: fx.Node, module: nn.Linear) -> None:
        self.weighted(node, module)
        source = self.source(node)
        if len(self.shape(source)) != 1:
            raise self.fail(node, f"a linear layer on the shape {list(self.shape(source))}; expected one dimension")
        self.add(node, "FULLY_CONNECTED", source, module=module, columns=self.flat.get(self.where[source]))

    def norm(self, node: fx.Node, module: nn.Module) -> None:
        source = self.source(node)
        layer = self.layers[self.where[source]]
        fits = layer.kind in WEIGHTED and layer.norm is None and layer.activation == "NONE"
        if not fits or not self.alone[source]:
            raise self.fail(node, f"batch norm must follow a convolution that nothing else reads, not {layer.place}")
        if module.running_mean is None:
            raise self.fail(node, "batch norm without running statistics cannot be folded")
        self.merge(node, norm=module)

    # Activations.

    def relu(self, node: fx.Node, *_: Any) -> None:
        self.activation(node, "RELU")

    def relu6(self, node: fx.Node, *_: Any) -> None:
        self.activation(node, "RELU6")

    def hardtanh(self, node: fx.Node, module: nn.Hardtanh) -> None:
        self.bounded(node, module.min_val, module.max_val)

    def function_hardtanh(self, node: fx.Node) -> None:
        self.bounded(node, _argument(node, 1, "min_val", -1), _argument(node, 2, "max_val", 1))

    def clamp(self, node: fx.Node) -> None:
        self.bounded(node, _argument(node, 1, "min", None), _argument(node, 2, "max", None))

    def bounded(self, node: fx.Node, low: Any, high: Any) -> None:
        match low, high:
            case 0, None:
                self.activation(node, "RELU")
            case 0, 6:
                self.activation(node, "RELU6")
            case _:
                raise self.fail(node, f"bounds of {low} and {high} cannot be quantized; expected 0 and 6, or 0 alone")

    def activation(self, node: fx.Node, kind: str) -> None:
        source = self.source(node)
        layer = self.layers[self.where[source]]
        if layer.kind in _FUSING and layer.activation == "NONE" and self.alone[source]:
            self.merge(node, activation=kind)
        else:
            self.add(node, kind, source)

    def softmax(self, node: fx.Node, *_: Any) -> None:
        source = self.source(node)
        if len(self.shape(source)) != 1:
            raise self.fail(node, f"softmax over the shape {list(self.shape(source))}; expected one dimension")
        self.add(node, "SOFTMAX", source)

    # Branches.

    def addition(self, node: fx.Node) -> None:
        if node.kwargs.get("alpha", 1) != 1:
            raise self.fail(node, "an addition with a factor cannot be quantized")
        left, right = self.source(node, 0), self.source(node, 1)
        if self.shape(left) != self.shape(right):
            shapes = list(self.shape(left)), list(self.shape(right))
            raise self.fail(node, f"adds the shapes {shapes[0]} and {shapes[1]}; expected equal ones")
        self.add(node, "ADD", left, right)

    def concatenation(self, node: fx.Node) -> None:
        tensors = node.args[0]
        if not isinstance(tensors, list | tuple):
            raise self.fail(node, f"concatenates what {tensors} gives; expected a list of tensors")
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if axis not in (1, -len(self.shape(node))):
            raise self.fail(node, f"concatenates along dimension {axis}; expected 1, the channels")
        for tensor in tensors:
            if tensor not in self.where:
                raise self.fail(node, f"{tensor!r} is not a tensor that the input led to")
        self.add(node, "CONCATENATION", *tensors)

    # Images.

    def zero_pad(self, node: fx.Node, module: nn.Module) -> None:
        if getattr(module, "value", 0) != 0:
            raise self.fail(node, f"padding with {module.value} cannot be quantized; expected 0")
        self.padded(node, module.padding)

    def function_pad(self, node: fx.Node) -> None:
        mode, value = (_argument(node, i, n, d) for i, n, d in ((2, "mode", "constant"), (3, "value", None)))
        if mode != "constant" or value:
            raise self.fail(node, f"padding of mode {mode!r} with {value} cannot be quantized; expected zeros")
        self.padded(node, _argument(node, 1, "pad", ()))

    def padded(self, node: fx.Node, padding: tuple[int, ...]) -> None:
        if len(self.shape(node)) != 3 or any(padding[4:]) or min(padding) < 0:
            raise self.fail(node, f"padding of {list(padding)} cannot be quantized; expected pixels around an image")
        left, right, top, bottom = (*padding, 0, 0)[:4]
        window = Window((1, 1), (1, 1), (top, bottom, left, right), None)
        self.add(node, "PAD", self.source(node), window=window)

    def max_pool(self, node: fx.Node, module: nn.MaxPool2d) -> None:
        if module.dilation not in (1, (1, 1)) or module.return_indices:
            raise self.fail(node, "a pool with dilation or indices cannot be quantized")
        self.pool(node, "MAX_POOL_2D", module.kernel_size, module.stride, module.padding)

    def average_pool(self, node: fx.Node, module: nn.AvgPool2d) -> None:
        if module.divisor_override is not None:
            raise self.fail(node, "divisor_override cannot be quantized")
        if not module.count_include_pad or not any(_pair(module.padding)):
            self.pool(node, "AVERAGE_POOL_2D", module.kernel_size, module.stride, module.padding)
            return
        # Zeros that count are pixels like others.
        source = self.source(node)
        channels, height, width = self.shape(source)
        rows, columns = _pair(module.padding)
        window = Window((1, 1), (1, 1), (rows, rows, columns, columns), None)
        shape = channels, height + 2 * rows, width + 2 * columns
        padded = self.extra(Layer(self.place(node), "PAD", (self.where[source],), shape, window=window))
        self.pool(node, "AVERAGE_POOL_2D", module.kernel_size, module.stride, 0, padded)

    def function_max_pool(self, node: fx.Node) -> None:
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        self.max_pool(node, nn.MaxPool2d(**_named(node, names)))

    def function_average_pool(self, node: fx.Node) -> None:
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        self.average_pool(node, nn.AvgPool2d(**_named(node, names)))

    def global_average(self, node: fx.Node, *_: Any) -> None:
        self.global_pool(node, "AVERAGE_POOL_2D")

    def global_maximum(self, node: fx.Node, *_: Any) -> None:
        self.global_pool(node, "MAX_POOL_2D")

    def global_pool(self, node: fx.Node, kind: str) -> None:
        size = self.shape(self.source(node))[1:]
        wanted = self.shape(node)[1:]
        if wanted != (1, 1):
            raise self.fail(node, f"an adaptive pool to {list(wanted)} cannot be quantized; expected [1, 1]")
        self.pool(node, kind, size, size, 0)

    def mean(self, node: fx.Node) -> None:
        source = self.source(node)
        axes = _argument(node, 1, "dim", None)
        axes = (axes,) if isinstance(axes, int) else tuple(axes or ())
        rank = len(self.shape(source)) + 1
        if rank != 4 or {a % rank for a in axes} != {2, 3}:
            raise self.fail(node, f"a mean over the dimensions {axes} cannot be quantized; expected (2, 3)")
        size = _pair(self.shape(source)[1:])
        self.add(node, "AVERAGE_POOL_2D", source, window=Window(size, size))
        pooled = replace(self.layers[-1], shape=(self.shape(source)[0], 1, 1))
        self.layers[-1] = pooled
        if len(self.shape(node)) == 1:
            number = self.where[node]
            self.where[node] = self.extra(Layer(pooled.place, "RESHAPE", (number,), self.shape(node)))

    def pool(self, node: fx.Node, kind: str, size: Any, stride: Any, padding: Any, source: int | None = None) -> None:
        """Adds a pool, of layer `source` or else of what the node reads."""
        kernel, steps = _pair(size), _pair(size if stride is None else stride)
        self.add(node, kind, self.source(node))
        layer = self.layers[-1] if source is None else replace(self.layers[-1], inputs=(source,))
        pads: list[int] = []
        axes = zip(self.layers[layer.inputs[0]].shape[1:], layer.shape[1:], kernel, steps, _pair(padding), strict=True)
        for pixels, outputs, k, step, before in axes:
            # With ceil_mode the last window may reach beyond the padding.
            pads += before, max(before, (outputs - 1) * step + k - pixels - before)
        top, bottom, left, right = pads
        self.layers[-1] = replace(layer, window=Window(kernel, steps, (top, bottom, left, right), None))

    def squeeze(self, node: fx.Node) -> None:
        after = self.shape(node)
        if len(after) > 1 and all(user.target in _FLATTENING for user in node.users):
            self.same(node)  # on the way to one dimension
        else:
            self.flatten(node)

    def flatten(self, node: fx.Node, *_: Any) -> None:
        source = self.source(node)
        before, after = self.layers[self.where[source]].shape, self.shape(node)
        if before == after:
            self.same(node)
            return
        if len(after) != 1 or len(before) != 3:
            raise self.fail(node, f"reshapes {list(before)} to {list(after)}; expected to flatten an image")
        self.add(node, "RESHAPE", source)
        if before[1:] != (1, 1):
            self.flat[self.where[node]] = before


_MODULES: Mapping[type, Callable[..., None]] = {
    nn.Conv2d: _Reader.convolution,
    nn.Linear: _Reader.linear,
    nn.BatchNorm2d: _Reader.norm,
    nn.BatchNorm1d: _Reader.norm,
    nn.ReLU6: _Reader.relu6,  # a Hardtanh too
    nn.Hardtanh: _Reader.hardtanh,
    nn.ReLU: _Reader.relu,
    nn.Softmax: _Reader.softmax,
    nn.ZeroPad2d: _Reader.zero_pad,
    nn.ConstantPad2d: _Reader.zero_pad,
    nn.MaxPool2d: _Reader.max_pool,
    nn.AvgPool2d: _Reader.average_pool,
    nn.AdaptiveAvgPool2d: _Reader.global_average,
    nn.AdaptiveMaxPool2d: _Reader.global_maximum,
    nn.Flatten: _Reader.flatten,
    nn.Dropout: _Reader.same,
    nn.Dropout2d: _Reader.same,
    nn.Identity: _Reader.same,
}

_FUNCTIONS: Mapping[Any, Callable[..., None]] = {
    nn.functional.relu: _Reader.relu,
    torch.relu: _Reader.relu,
    torch.relu_: _Reader.relu,  # nn.functional's too
    nn.functional.relu6: _Reader.relu6,
    nn.functional.hardtanh: _Reader.function_hardtanh,
    torch.clamp: _Reader.clamp,
    nn.functional.softmax: _Reader.softmax,
    torch.softmax: _Reader.softmax,
    operator.add: _Reader.addition,
    operator.iadd: _Reader.addition,
    torch.add: _Reader.addition,
    torch.cat: _Reader.concatenation,
    nn.functional.pad: _Reader.function_pad,
    nn.functional.max_pool2d: _Reader.function_max_pool,
    nn.functional.avg_pool2d: _Reader.function_average_pool,
    nn.functional.adaptive_avg_pool2d: _Reader.global_average,
    nn.functional.adaptive_max_pool2d: _Reader.global_maximum,
    torch.mean: _Reader.mean,
    torch.squeeze: _Reader.squeeze,
    torch.flatten: _Reader.flatten,
    torch.reshape: _Reader.flatten,
    nn.functional.dropout: _Reader.same,
}

_METHODS: Mapping[Any, Callable[..., None]] = {
    "relu": _Reader.relu,
    "relu_": _Reader.relu,
    "softmax": _Reader.softmax,
    "add": _Reader.addition,
    "add_": _Reader.addition,
    "clamp": _Reader.clamp,
    "clamp_": _Reader.clamp,
    "mean": _Reader.mean,
    "squeeze": _Reader.squeeze,
    "flatten": _Reader.flatten,
    "reshape": _Reader.flatten,
    "view": _Reader.flatten,
    "contiguous": _Reader.same,
}


_FLATTENING = ("squeeze", "flatten", "reshape", "view", torch.squeeze, torch.flatten, torch.reshape)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that SAME adds before and after: what is odd goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _named(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """A function's arguments after the first, by their names."""
    return {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _centered(kernel: tuple[int, int]) -> Pads:
    rows, columns = ((k - 1) // 2 for k in kernel)
    return rows, kernel[0] - 1 - rows, columns, kernel[1] - 1 - columns


def _needed(layers: list[Layer], last: int) -> list[Layer]:
    """The layers that lead to `last`, with padding moved into the convolutions that read it."""
    merged = list(layers)
    for i, layer in enumerate(merged):
        if layer.window is None or layer.kind not in WEIGHTED:
            continue
        source = merged[layer.inputs[0]]
        if source.kind == "PAD" and source.window is not None:
            outer, inner = source.window.pads, layer.window.pads
            pads = (outer[0] + inner[0], outer[1] + inner[1], outer[2] + inner[2], outer[3] + inner[3])
            merged[i] = replace(layer, inputs=source.inputs, window=replace(layer.window, pads=pads))
    keep = {0, last}
    for i in range(last, 0, -1):
        if i in keep:
            keep.update(merged[i].inputs)
    order = sorted(keep)
    number = {old: new for new, old in enumerate(order)}
    return [replace(merged[i], inputs=tuple(number[j] for j in merged[i].inputs)) for i in order]


def _with_padding(layers: list[Layer]) -> tuple[Layer, ...]:
    """Names each window's padding as TensorFlow Lite does."""
    result = []
    for layer in layers:
        if layer.window is not None and layer.kind != "PAD":
            source = layers[layer.inputs[0]]
            layer = replace(layer, window=replace(layer.window, padding=_padding(layer, layer.window, source)))
        result.append(layer)
    return tuple(result)


def _padding(layer: Layer, window: Window, source: Layer) -> str | None:
    size = source.shape[1:]
    same = tuple(p for n, k, s in zip(size, window.extent, window.stride, strict=True) for p in same_padding(n, k, s))
    if layer.kind in WEIGHTED:
        return "SAME" if window.pads == same else None if any(window.pads) else "VALID"
    whole = tuple((n - k) // s + 1 for n, k, s in zip(size, window.kernel, window.stride, strict=True))
    for padding, pads, shape in (
        ("VALID", (0, 0, 0, 0), whole),
        ("SAME", same, tuple(-(-n // s) for n, s in zip(size, window.stride, strict=True))),
    ):
        if (window.pads, layer.shape[1:]) == (pads, shape):
            return padding
    if layer.kind == "MAX_POOL_2D" and (source.activation != "NONE" or source.kind in ("RELU", "RELU6")):
        # What torch adds counts as less than everything; after a ReLU zeros do as well.
        padded = tuple(n + a + b for n, a, b in zip(size, window.pads[::2], window.pads[1::2], strict=True))
        if layer.shape[1:] == tuple(
            (n - k) // s + 1 for n, k, s in zip(padded, window.kernel, window.stride, strict=True)
        ):
            return None
    raise ModelError(
        f"{layer.place}: the pool's padding {list(window.pads)} (above, below, left, right) leaves "
        f"{list(layer.shape[1:])} pixels; expected {list(same)}, or none and {list(whole)}"
    )
