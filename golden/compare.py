"""Where two computations of one network part, and why: two profiles, golden and LiteRT, golden and the RTL.

comparison = compare_profiles(graph, inputs, Profile.TFLM, Profile.XNNPACK)
comparison.layers[3].mismatches      # elements of the layer's output that differ
comparison.first                     # the first element that differs: accumulator, multiplier, shift, both values
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .graph import Graph, ModelError, Operator
from .kernels import SUMS_OF_PRODUCTS, Array, Node, convolution_geometry, operands_of, requantization_of
from .numerics import Profile
from .runtime import Session


@dataclass(frozen=True)
class LayerDifference:
    """How one output of one operator differs between two runs.

    Parameters
    ----------
    index, op, name
        The operator's position and kind, and the name of its output.
    tensor
        The output's tensor index.
    elements
        How many the output has.
    mismatches
        How many differ. Includes what earlier layers passed on.
    largest
        The greatest magnitude of a difference.
    alone
        How many differ where the left side computes this layer from the right side's inputs: the layer's own share.
        None where that is not known.
    """

    index: int
    op: str
    name: str
    tensor: int
    elements: int
    mismatches: int
    largest: float
    alone: int | None = None


@dataclass(frozen=True)
class Divergence:
    """The first element that differs, in the order of execution. All that comes before is equal on both sides.

    Parameters
    ----------
    index, op, tensor
        Operator and output tensor.
    position
        The element, for images (n, y, x, c).
    left, right
        Its value on both sides.
    accumulator
        The sum of products with the bias; None for operators that have no such sum.
    multiplier, shift
        `q` and `s` of the output channel; None with the accumulator.
    product
        `accumulator * q * 2^(s - 31)`, which the two sides round.
    left_rounded, right_rounded
        To what each side rounds it, before the zero point and the clamp; None where a side is no profile.
    """

    index: int
    op: str
    tensor: int
    position: tuple[int, ...]
    left: float
    right: float
    accumulator: int | None = None
    multiplier: int | None = None
    shift: int | None = None
    product: float | None = None
    left_rounded: int | None = None
    right_rounded: int | None = None

    def __str__(self) -> str:
        place = f"operator {self.index} ({self.op}), element {list(self.position)}: {self.left:g} and {self.right:g}"
        if self.accumulator is None:
            return place
        sides = [str(value) for value in (self.left_rounded, self.right_rounded) if value is not None]
        return (
            f"{place}; accumulator {self.accumulator}, multiplier {self.multiplier}, shift {self.shift}: "
            f"{self.product:.6f} is rounded to {' and '.join(sides)}"
        )


@dataclass(frozen=True)
class Comparison:
    """Two runs of one network, layer by layer.

    Parameters
    ----------
    left, right
        What the sides are called.
    layers
        One for each output of each operator that both sides have.
    first
        The first divergence; None where all is equal.
    """

    left: str
    right: str
    layers: tuple[LayerDifference, ...]
    first: Divergence | None

    @property
    def equal(self) -> bool:
        """Whether no element differs."""
        return self.first is None

    def __repr__(self) -> str:
        wrong = sum(layer.mismatches > 0 for layer in self.layers)
        return f"<Comparison {self.left} and {self.right}: {wrong} of {len(self.layers)} layers differ>"


def compare_profiles(graph: Graph, inputs: Sequence[npt.ArrayLike], left: Profile, right: Profile) -> Comparison:
    """One inference under two profiles.

    Raises
    ------
    ModelError
        As `runtime.run`.
    """
    session = Session(graph, right)
    other = session.run(inputs).tensors
    return compare_with(graph, inputs, left, other, name=right.value, other_profile=right)


def compare_with(
    graph: Graph,
    inputs: Sequence[npt.ArrayLike],
    profile: Profile,
    tensors: Mapping[int, Array],
    *,
    name: str,
    other_profile: Profile | None = None,
) -> Comparison:
    """One inference of the golden runtime, and the tensors of some other computation of it.

    Parameters
    ----------
    graph, inputs, profile
        What the golden runtime computes: the left side.
    tensors
        The right side, by tensor index. Outputs that are missing there are not compared.
    name
        What the right side is called.
    other_profile
        Whose arithmetic the right side follows, if it is known.

    Raises
    ------
    ModelError
        As `runtime.run`, or a tensor of another shape on the right.
    """
    session = Session(graph, profile)
    golden = session.run(inputs).tensors
    alone = Session(graph, profile)
    layers: list[LayerDifference] = []
    first: Divergence | None = None
    for operator in graph.operators:
        own = _outputs_alone(alone, graph, operator, tensors)
        for position, index in enumerate(operator.outputs):
            tensor = graph.tensors[index]
            if index not in tensors or tensor.dtype.hasobject:
                continue
            mine, theirs = golden[index], np.asarray(tensors[index])
            if mine.shape != theirs.shape:
                raise ModelError(
                    f"{name}: tensor {index} ({tensor.name}) is {list(theirs.shape)}, not {list(mine.shape)}"
                )
            different = _different(mine, theirs)
            mismatches = int(different.sum())
            distance = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))[different]
            layers.append(
                LayerDifference(
                    index=operator.index,
                    op=operator.kind,
                    name=tensor.name,
                    tensor=index,
                    elements=mine.size,
                    mismatches=mismatches,
                    largest=float(distance.max(initial=0)),
                    alone=None if own is None else int(_different(own[position], theirs).sum()),
                )
            )
            if mismatches and first is None:
                place = tuple(int(i) for i in np.argwhere(different)[0])
                first = _explain(graph, operator, index, place, golden, theirs, (profile, other_profile))
    return Comparison(profile.value, name, tuple(layers), first)


def _different(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Where two arrays differ; a number that is none equals itself."""
    different: npt.NDArray[np.bool_] = np.asarray(a != b)
    if a.dtype.kind == "f":
        different &= ~(np.isnan(a) & np.isnan(b))
    return different


def _outputs_alone(
    session: Session, graph: Graph, operator: Operator, tensors: Mapping[int, Array]
) -> tuple[Array, ...] | None:
    """What an operator computes from the other side's inputs; None where these are not known or state is involved."""
    for index in operator.inputs:
        if index >= 0 and not graph.tensors[index].constant and index not in tensors:
            return None
        if index >= 0 and (graph.tensors[index].variable or graph.tensors[index].dtype.hasobject):
            return None
    if not operator.inputs:
        return None
    return session.run_operator(operator, {i: tensors[i] for i in operator.inputs if i in tensors})


def _explain(
    graph: Graph,
    operator: Operator,
    tensor: int,
    place: tuple[int, ...],
    golden: Mapping[int, Array],
    theirs: Array,
    profiles: tuple[Profile, Profile | None],
) -> Divergence:
    found = Divergence(
        index=operator.index,
        op=operator.kind,
        tensor=tensor,
        position=place,
        left=float(golden[tensor][place]),
        right=float(theirs[place]),
    )
    if operator.kind not in SUMS_OF_PRODUCTS or golden[operator.inputs[0]].dtype.kind == "f":
        return found
    accumulator = accumulator_at(graph, operator, golden[operator.inputs[0]], place)
    rounded: list[int | None] = []
    for profile in profiles:
        if profile is None:
            rounded.append(None)
            continue
        requantization = requantization_of(Node.of(operator, graph, profile))
        channel = min(place[-1], requantization.scale.size - 1)
        rounded.append(int(requantization.rounded(np.full(requantization.scale.size, accumulator))[channel]))
    requantization = requantization_of(Node.of(operator, graph, Profile.TFLM))
    channel = min(place[-1], requantization.scale.size - 1)
    q, s = int(requantization.multiplier[channel]), int(requantization.shift[channel])
    return Divergence(
        **{
            **vars(found),
            "accumulator": accumulator,
            "multiplier": q,
            "shift": s,
            "product": accumulator * q * 2.0 ** (s - 31),
            "left_rounded": rounded[0],
            "right_rounded": rounded[1],
        }
    )


def accumulator_at(graph: Graph, operator: Operator, x: Array, position: Sequence[int]) -> int:
    """The accumulator, bias included, of one output element of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED.

    Written as the definition, tap by tap: slow, and independent of the kernels.

    Parameters
    ----------
    x
        The operator's input.
    position
        The output element: (n, y, x, c), or for FULLY_CONNECTED (..., c).

    Raises
    ------
    ValueError
        Another operator.
    """
    if operator.kind not in SUMS_OF_PRODUCTS:
        raise ValueError(f"{operator.kind} has no accumulators; expected one of {', '.join(SUMS_OF_PRODUCTS)}")
    operands = operands_of(Node.of(operator, graph))
    weights = operands.weights.astype(np.int64) - operands.weights_zero_point
    centered = x.astype(np.int64) - operands.input_zero_point
    *rest, channel = position
    total = int(operands.bias[channel])
    if operator.kind == "FULLY_CONNECTED":
        rows = graph.tensors[operator.outputs[0]].shape[:-1]
        row = int(np.ravel_multi_index(tuple(rest), rows)) if rest else 0
        return total + int(centered.reshape(-1, weights.shape[1])[row] @ weights[channel])
    geometry = convolution_geometry(operator, graph)
    vertical, horizontal = geometry.vertical, geometry.horizontal
    n, y_out, x_out = rest
    depth = geometry.input_channels // geometry.groups
    group = channel // (geometry.output_channels // geometry.groups)
    for i in range(vertical.kernel):
        row = y_out * vertical.stride + i * vertical.dilation - vertical.before
        for j in range(horizontal.kernel):
            column = x_out * horizontal.stride + j * horizontal.dilation - horizontal.before
            if 0 <= row < vertical.size and 0 <= column < horizontal.size:
                pixel = centered[n, row, column, group * depth : (group + 1) * depth]
                tap = weights[0, i, j, channel : channel + 1] if operator.kind[0] == "D" else weights[channel, i, j]
                total += int(pixel @ tap)
    return total
