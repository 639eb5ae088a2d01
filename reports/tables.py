"""A study's tables: plain cells, each with what it says and what it sorts by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..hw.config import KIB
from .causes import LABELS
from .energy import COMPONENTS, Energy
from .study import Study

NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Parameters
    ----------
    text
        What people read.
    value
        What it sorts by, and what the CSV holds: a number where it is one; None where there is nothing.
    """

    text: str
    value: str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Parameters
    ----------
    name
        Of its file.
    title, note
        Above it, and what it shows in one sentence.
    columns
        Names, with units.
    rows
        Cells, as many as columns in each row.
    """

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        values = [row[column].value for row in self.rows]
        return any(isinstance(value, (int, float)) for value in values) and not any(isinstance(v, str) for v in values)


def word(text: str) -> Cell:
    """A cell of words."""
    return Cell(text, text)


def number(value: float | int | None, form: str = ",") -> Cell:
    """A cell of a number."""
    return Cell(NOTHING, None) if value is None else Cell(format(value, form), value)


def share(value: float | None) -> Cell:
    """A cell of a ratio, in percent."""
    return Cell(NOTHING, None) if value is None else Cell(f"{value:.1%}", value)


def times(value: float | None) -> Cell:
    """A cell of how many times as much."""
    return Cell(NOTHING, None) if value is None else Cell(f"{value:.2f}", value)


def joules(value: Energy | None) -> Cell:
    """A cell of an energy; its value is the middle of the range in picojoules."""
    return Cell(NOTHING, None) if value is None else Cell(str(value), value.middle)


def tables(study: Study) -> list[Table]:
    """All tables of a report, in its order."""
    made: list[Callable[[Study], Table | None]] = [layers, quantization, components, bandwidth, numbers, peers]
    return [table for make in made if (table := make(study)) is not None]


def _ratio(wide: float | None, narrow: float | None) -> float | None:
    return wide / narrow if wide is not None and narrow else None


def layers(study: Study) -> Table:
    """What each operator is and costs."""
    rows = []
    spent = study.layer_energy
    for index, layer in enumerate(study.layers):
        on_array = layer.where == "array"
        outputs = study.graph.operators[index].outputs  # what only assigns a variable has none
        moved = study.traffic.get(index)
        rows.append(
            (
                number(layer.index, "d"),
                word(layer.op),
                word("x".join(map(str, study.graph.tensors[outputs[0]].shape)) if outputs else NOTHING),
                word({"array": "array", "host": "host", "none": "nobody"}[layer.where]),
                number(layer.macs),
                number(layer.cycles if on_array else None),
                share(layer.cycles / study.profile.cycles if on_array and study.profile.cycles else None),
                share(layer.utilization),
                word(LABELS[study.causes[index].bound] if index in study.causes else NOTHING),
                number(moved.read if moved else None),
                number(moved.activations_written if moved else None),
                joules(spent[index].total if index in spent else None),
            )
        )
    hosts = study.reasons
    note = "Every operator of the network, in order; what bounds it is the cause of most of its cycles."
    if hosts:
        note += f" {len(hosts)} run{'s' * (len(hosts) == 1)} on the host, which costs the machine nothing here."
    return Table(
        "layers",
        "Layers",
        note,
        (
            "#",
            "operator",
            "output",
            "on",
            "MACs",
            "cycles",
            "share",
            "utilization",
            "mostly",
            "bytes read",
            "bytes written",
            "energy",
        ),
        tuple(rows),
    )


def quantization(study: Study) -> Table | None:
    """Each layer in int8 and in float32."""
    if study.wide is None or study.wide_energy is None:
        return None
    rows = []
    wide_energy = dict(zip(study.wide.layers, study.wide_energy.layers, strict=True))
    plain_energy = {layer.index - study.graph.first: layer for layer in study.plain_energy.layers}
    for index in study.on_machine:
        if index not in study.wide.layers or index not in plain_energy:
            continue
        layer, float_layer = study.plain.layers[index], study.wide.layers[index]
        narrow, wide = study.plain_traffic[index], float_layer.actions.traffic
        spent, wide_spent = plain_energy[index].total, wide_energy[index].total
        rows.append(
            (
                number(layer.index, "d"),
                word(layer.op),
                number(narrow.weights),
                number(wide.weights),
                number(narrow.activations),
                number(wide.activations),
                times(_ratio(wide.total, narrow.total)),
                number(layer.cycles),
                number(float_layer.cycles),
                times(_ratio(float_layer.cycles, layer.cycles)),
                joules(spent),
                joules(wide_spent),
                times(_ratio(wide_spent.middle, spent.middle)),
            )
        )
    return Table(
        "quantization",
        "int8 and float32, layer by layer",
        "The same network, laid out by the same compiler for the same on-chip memories and the same bus, layers one "
        "after the other: what each layer moves, takes and spends in int8 and in float32.",
        (
            "#",
            "operator",
            "weights int8, B",
            "weights float32, B",
            "activations int8, B",
            "activations float32, B",
            "bytes, times",
            "cycles int8",
            "cycles float32",
            "cycles, times",
            "energy int8",
            "energy float32",
            "energy, times",
        ),
        tuple(rows),
    )


def bandwidth(study: Study) -> Table:
    """What crosses the bus in an inference, and what is stored, in int8 and in float32."""
    fused, narrow = study.total_traffic, study.total_plain_traffic
    wide = study.wide.traffic if study.wide is not None else None
    parameters = study.parameters
    entries: list[tuple[str, int | None, int | None, int | None]] = [
        (label, getattr(fused, name), getattr(narrow, name), None if wide is None else getattr(wide, name))
        for label, name in (
            ("weights, loaded", "weights"),
            ("activations, read", "activations_read"),
            ("activations, written", "activations_written"),
            ("commands, fetched", "commands"),
            ("all that crosses the bus", "total"),
        )
    ]
    entries += [
        ("parameters of the network", parameters[0], *parameters),
        ("the network's file", study.file_bytes, study.file_bytes, None),
    ]
    rows = tuple(
        (
            word(label),
            *([number(a)] if study.fused else []),
            number(b),
            number(c),
            times(_ratio(c, b)),
            *([times(_ratio(c, a))] if study.fused else []),
        )
        for label, a, b, c in entries
        if b is not None or c is not None
    )
    extra = ("int8 with fused layers, B",) if study.fused else ()
    return Table(
        "bandwidth",
        "Bytes in int8 and in float32",
        "Bytes of one inference between the machine and DRAM, and of what is stored; the file holds more than its "
        "parameters.",
        (
            "what",
            *extra,
            "int8, B",
            "float32, B",
            "times",
            *(("times, with fused layers",) if study.fused else ()),
        ),
        rows,
    )


def components(study: Study) -> Table:
    """Energy by component, in int8 and in float32."""
    narrow = study.energy.components
    wide = study.wide_energy.components if study.wide_energy is not None else None
    rows = [
        (
            word(name),
            joules(narrow[name]),
            share(narrow[name].middle / study.energy.total.middle if study.energy.total.middle else None),
            joules(wide[name] if wide else None),
            times(_ratio(wide[name].middle, narrow[name].middle) if wide else None),
        )
        for name in COMPONENTS
    ]
    total = study.energy.total
    wide_total = study.wide_energy.total if study.wide_energy is not None else None
    rows.append(
        (
            word("all"),
            joules(total),
            share(1.0 if total.middle else None),
            joules(wide_total),
            times(_ratio(wide_total.middle, total.middle) if wide_total else None),
        )
    )
    return Table(
        "energy",
        "Energy by component",
        f"Energy of one inference by the figures of {study.energy.table.name}; arithmetic and memories only, without "
        "registers, clock, control and leakage.",
        ("component", "int8", "share", "float32", "times"),
        tuple(rows),
    )


def numbers(study: Study) -> Table | None:
    """How each operator's weights and outputs use eight bits, and who computes them otherwise."""
    found = {(d.operator, d.kind): d for d in study.distributions}
    rows = []
    for index, layer in enumerate(study.layers):
        weights, outputs = found.get((index, "weights")), found.get((index, "activations"))
        result = study.result.layers[index] if study.result is not None else None
        if weights is None and outputs is None and result is None:
            continue
        rows.append(
            (
                number(layer.index, "d"),
                word(layer.op),
                number(weights.sqnr if weights else None, ".1f"),
                number(weights.levels if weights else None),
                share(weights.saturated if weights else None),
                number(outputs.sqnr if outputs else None, ".1f"),
                number(outputs.levels if outputs else None),
                share(outputs.saturated if outputs else None),
                *(number(counts.get(index)) for counts in study.others.values()),
                *([number(result.mismatches)] if result is not None else []),
            )
        )
    if not rows:
        return None
    others = tuple(f"differ in {runtime.value}" for runtime in study.others)
    run = (f"differ on {study.result.backend}",) if study.result is not None else ()
    return Table(
        "numbers",
        "Numbers",
        "SQNR: signal to quantization noise if rounding is uniform noise; levels: how many of 256 values occur; "
        "saturated: at an end of the range that does not stand for zero; differ: elements that another runtime "
        "computes otherwise from the same inputs.",
        (
            "#",
            "operator",
            "weights: SQNR, dB",
            "weights: levels",
            "weights: saturated",
            "outputs: SQNR, dB",
            "outputs: levels",
            "outputs: saturated",
            *others,
            *run,
        ),
        tuple(rows),
    )


def peers(study: Study) -> Table | None:
    """Cycles of the same network elsewhere."""
    if not study.peers:
        return None
    config = study.program.config
    own = study.profile.cycles
    conditions = (
        f"the RTL's own cycles by the cycle model: {config.rows} x {config.columns} multipliers, {config.bus_bytes} "
        f"bytes of DRAM per cycle, {config.sram_bytes // KIB} KiB of SRAM, memory latency {study.profile.latency} "
        f"cycles; {len(study.reasons)} operators on the host are not counted"
    )
    rows = [(word(f"Eightfold {config.name}"), number(own), times(1.0), word(conditions))]
    rows += [
        (word(peer.name), number(cycles), times(_ratio(cycles, own)), word(peer.conditions))
        for peer, cycles in study.peers.items()
    ]
    return Table(
        "peers",
        "Against others",
        "Cycles of one inference of this network on machines with 256 multipliers, by their own makers' or authors' "
        "tools, each under its own conditions.",
        ("machine", "cycles", "times ours", "conditions"),
        tuple(rows),
    )
