"""A study as a page: one HTML file that needs nothing else, and the same in Markdown, CSV, JSON and SVG."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..hw.config import KIB
from .causes import LABELS
from .charts import BEYOND_WIDTH, CHARTS, PALETTE, Chart, svg
from .distribution import Distribution
from .energy import COMPONENTS
from .study import Study
from .tables import Table, tables

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Parameters
    ----------
    name, title
        Of its file, and above it.
    sentence
        What it shows, or why there is none.
    svg
        The figure; None where there is none.
    """

    name: str
    title: str
    sentence: str
    svg: str | None


@dataclass(frozen=True)
class Tile:
    """One figure that says the most, with what it is."""

    value: str
    label: str
    detail: str


@dataclass(frozen=True)
class Section:
    """A part of the page: figures, with a small table below the last of them where one is, then tables."""

    title: str
    figures: tuple[Shown, ...]
    beside: Table | None
    tables: tuple[Table, ...]

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Every table, in order."""
        return self.tables if self.beside is None else (self.beside, *self.tables)


def render(study: Study, told: Callable[[str], None] = lambda what: None) -> dict[str, str]:
    """All files of a report, by their path below its folder; the same study gives the same files."""
    shown = {}
    for chart in CHARTS:
        told(f"figure: {chart.title.lower()}")
        shown[chart.name] = _show(chart, study)
    told("page")
    made = {table.name: table for table in tables(study)}
    sections = [
        Section(title, tuple(shown[f] for f in figures), made.get(beside), tuple(made[t] for t in names if t in made))
        for title, figures, beside, names in _SECTIONS
    ]
    found = {
        "report.html": _html(study, sections),
        "report.md": "\n".join(_markdown(study, sections)) + "\n",
        "report.json": json.dumps(study.to_json(), indent=2) + "\n",
    }
    found |= {f"tables/{table.name}.csv": _csv(table) for table in made.values()}
    found |= {f"figures/{f.name}.svg": _standalone(f.svg) for f in shown.values() if f.svg is not None}
    return found


_SECTIONS = (
    ("What it costs", ("cycles", "utilization"), "", ("layers",)),
    ("What limits it", ("roofline", "memory"), "", ()),
    ("What quantization saves", ("traffic", "saving"), "", ("bandwidth", "quantization")),
    ("Energy", ("energy", "energy-saved"), "energy", ()),
    ("Numbers", ("weights", "activations", "agreement"), "", ("numbers",)),
    ("Others", (), "", ("peers",)),
)


def _show(chart: Chart, study: Study) -> Shown:
    picture = svg(chart, study)
    sentence = _SENTENCES[chart.name](study) if picture is not None else _missing(chart.name, study)
    return Shown(chart.name, chart.title, sentence, picture)


def _missing(name: str, study: Study) -> str:
    """Why there is no such figure."""
    if name in ("weights", "activations"):
        return f"No operator has {name} that are quantized to 8 bits."
    if name == "agreement":
        runtimes = [runtime.value for runtime, counts in study.others.items() if counts]
        if runtimes:
            return f"{' and '.join(runtimes)} compute every element as {study.program.profile.value} does."
        return "No operator could be computed by another runtime from these tensors."
    if not study.on_machine:
        return "No operator runs on the machine, so there is nothing to show; the conditions at the end say why."
    if name in ("saving", "energy-saved"):
        return f"In float32 the network cannot be laid out on this machine: {study.wide_reason}."
    if name == "memory":
        return "The scratchpad holds nothing."
    if name == "roofline":
        return "No layer on the machine sums up products."
    return "There is nothing to show."


# What each figure shows, in one sentence with its figures.


def _cycles(study: Study) -> str:
    parts, total = study.total_causes, study.profile.cycles
    lost = {name: value for name, value in parts.items() if name != "products"}
    worst = max(lost, key=lost.__getitem__)
    return (
        f"Each layer's cycles by what the array does in them: {parts['products'] / total:.0%} of all {total:,} cycles "
        f"would be enough if every multiplier always worked, and the most is lost to "
        f"“{LABELS[worst]}”, {lost[worst] / total:.0%}."
    )


def _utilization(study: Study) -> str:
    layers = [study.layers[i] for i in study.on_machine if study.layers[i].macs]
    if not layers:
        return (
            "No layer on the machine sums up products, of which this would be the share that the array could compute."
        )
    below = sum((layer.utilization or 0) < 0.25 for layer in layers)
    whole = study.profile.utilization or 0
    return (
        f"The share of {study.program.config.multipliers} multipliers that works in a layer's time: {whole:.1%} over "
        f"all, and less than a quarter in {below} of {len(layers)} layers."
    )


def _roofline(study: Study) -> str:
    config = study.program.config
    return (
        f"Each layer's speed (the larger, the more cycles; the five longest are numbered) under the two limits: "
        f"{config.multipliers} products per cycle, and a bus of {config.bus_bytes} bytes per cycle in each direction; "
        f"a layer whose weights came during the layer before may lie above the slope."
    )


def _memory(study: Study) -> str:
    room = study.program.config.scratchpad_bytes
    strips = len({o.operator for o in study.occupants if o.tensor is None and not o.weights})
    text = (
        f"What lies where in the scratchpad and when, numbered by the layer that makes it: at most "
        f"{study.peak_bytes / KIB:,.0f} of {room / KIB:,.0f} KiB are taken"
    )
    text += f", and {strips} layers pass through in strips" if strips else ", and every tensor is whole"
    return f"{text}; weights lie there where they were loaded ahead of time." if study.program.staged else f"{text}."


def _traffic(study: Study) -> str:
    total = study.total_traffic
    kinds = {
        "weights": total.weights,
        "activations that are read": total.activations_read,
        "activations that are written": total.activations_written,
        "commands": total.commands,
    }
    most = max(kinds, key=kinds.__getitem__)
    return (
        f"Bytes that cross the bus for each layer, {total.total:,} in all; the most are {most}, "
        f"{kinds[most] / total.total:.0%}."
    )


def _saving(study: Study) -> str:
    if study.wide is None:
        return ""
    narrow, wide = study.total_plain_traffic.total, study.wide.traffic.total
    ratios = [
        layer.actions.traffic.total / study.plain_traffic[i].total
        for i, layer in study.wide.layers.items()
        if i in study.plain_traffic and study.plain_traffic[i].total
    ]
    beyond = sum(ratio > BEYOND_WIDTH for ratio in ratios)
    text = (
        f"Bytes on the bus in int8 and in float32 on the same on-chip memories: int8 moves {wide / narrow:.1f} times "
        f"less in all"
    )
    if study.fused:
        text += f" ({wide / study.total_traffic.total:.1f} times with fused layers)"
    if not beyond:
        return f"{text}; where everything fits, the factor is at most the width of the elements."
    return (
        f"{text}, and more than four times less in {beyond} layers (red), whose tensors or weights fit in int8 and "
        f"cross the bus again and again in float32."
    )


def _energy(study: Study) -> str:
    parts = study.energy.components
    most = max(COMPONENTS, key=lambda name: parts[name].middle)
    share = parts[most].middle / study.energy.total.middle
    return (
        f"Energy of each layer by component with the figures of {study.energy.table.name}: {study.energy.total} in "
        f"all, of which {most} takes {share:.0%}."
    )


def _energy_saved(study: Study) -> str:
    if study.wide_energy is None:
        return ""
    ratio = study.wide_energy.total.middle / study.plain_energy.total.middle
    return (
        f"Energy of an inference in int8 and with as many float32 multipliers on the same memories: int8 takes "
        f"{ratio:.1f} times less."
    )


def _bits(study: Study, kind: str, words: str) -> str:
    found: list[Distribution] = [d for d in study.distributions if d.kind == kind]
    known = [d for d in found if d.sqnr is not None]
    text = f"How often each value occurs in {words} (darker is more often, on a logarithmic scale), and the signal to "
    if not known:
        return f"{text}quantization noise, of which there is none to tell here."
    least = min(known, key=lambda d: d.sqnr or 0.0)
    return (
        f"{text}quantization noise if rounding is uniform noise: least in layer {study.layers[least.operator].index}, "
        f"{least.sqnr:.1f} dB."
    )


def _agreement(study: Study) -> str:
    own = study.program.profile.value
    parts = []
    for runtime, counts in study.others.items():
        layers = sum(count > 0 for count in counts.values())
        parts.append(f"{runtime.value} in {layers} of {len(counts)} layers")
    return (
        f"Elements that other runtimes compute otherwise than {own}, given the same inputs layer by layer: "
        f"{', '.join(parts)}."
    )


_SENTENCES: Mapping[str, Callable[[Study], str]] = {
    "cycles": _cycles,
    "utilization": _utilization,
    "roofline": _roofline,
    "memory": _memory,
    "traffic": _traffic,
    "saving": _saving,
    "energy": _energy,
    "energy-saved": _energy_saved,
    "weights": lambda study: _bits(study, "weights", "each layer's weights"),
    "activations": lambda study: _bits(study, "activations", f"each layer's outputs for {study.inputs}"),
    "agreement": _agreement,
}


def tiles(study: Study) -> list[Tile]:
    """The figures that say the most."""
    cost, wide, total = study.profile, study.wide, study.total_traffic.total
    layers = study.layers
    on_array = len(study.on_machine)
    found = []
    if cost.cycles:
        milliseconds = 1e3 * study.seconds(cost.cycles)
        found += [
            Tile(f"{cost.cycles:,}", "cycles", f"{milliseconds:.3g} ms at {study.clock / 1e6:g} MHz"),
            Tile(f"{cost.utilization or 0:.1%}", "of the array works", f"{sum(i.macs for i in layers):,} MACs"),
            Tile(str(study.energy.total), "energy", f"{study.energy.power(study.clock).text('W')} on average"),
            Tile(_size(total), "cross the bus", f"at most {_size(study.peak_bytes)} in the scratchpad"),
        ]
    if cost.cycles and wide is not None and study.wide_energy is not None:
        ratio = study.wide_energy.total.middle / study.plain_energy.total.middle
        moved = study.total_plain_traffic.total
        found.append(
            Tile(
                f"{wide.traffic.total / moved:.1f} x",
                "fewer bytes than float32",
                f"{wide.cycles / study.plain.cycles:.1f} x fewer cycles, {ratio:.1f} x less energy",
            )
        )
    nobody = sum(layer.where == "none" for layer in layers)
    free = f", {nobody} cost{'s' * (nobody == 1)} nothing" if nobody else ""
    found.append(
        Tile(f"{on_array} of {len(layers)}", "operators on the array", f"{len(study.reasons)} on the host{free}")
    )
    if study.result is not None:
        exact = study.result.bit_exact
        wrong = sum(layer.mismatches or 0 for layer in study.result.layers)
        value = {True: "exact", False: f"{wrong:,} differ", None: "not seen"}[exact]
        found.append(Tile(value, f"on {study.result.backend}", "against the golden runtime, every element"))
    return found


def _size(value: float) -> str:
    for factor, unit in ((1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:g} bytes"


def conditions(study: Study) -> list[tuple[str, str]]:
    """Under which all figures hold."""
    config, table = study.program.config, study.energy.table
    found = [
        (
            "machine",
            f"{config.name}: {config.rows} x {config.columns} multipliers, {config.scratchpad_bytes // KIB} KiB "
            f"scratchpad, {config.weight_bytes // KIB} KiB weight buffer, {config.accumulator_bytes // KIB} KiB "
            f"accumulators, a bus of {config.bus_bytes} bytes per cycle in each direction",
        ),
        ("memory", f"{study.profile.latency} cycles from a request to its first data; it never pauses"),
        ("cycles", "by the cycle model, which equals the RTL in every counter; the host's work is not counted"),
        ("arithmetic", f"profile {study.program.profile.value}"),
        ("inputs", f"{study.inputs}: for the outputs' histograms and the agreement; cycles do not depend on them"),
        ("energy", table.source),
        (
            "memories' energy",
            f"per 64 bits: scratchpad bank {table.access(config.scratchpad_bytes // 2)}, weight buffer "
            f"{table.access(config.weight_bytes)}, accumulators {table.access(config.accumulator_bytes)}, interpolated "
            f"by capacity as a power of it; DRAM {table.dram}",
        ),
        (
            "float32",
            "as many elements in the array, each one product per cycle, the same memories and bus in bytes, the same "
            "compiler, the same operators on the machine; compared with int8 where layers follow one after the other",
        ),
        ("not counted", "energy of registers, clock, control, leakage, of DRAM at rest, and of the host"),
    ]
    if study.reasons:
        reasons: dict[str, list[str]] = {}
        for operator, reason in study.reasons.items():
            layer = study.layers[operator]
            reasons.setdefault(reason, []).append(f"{layer.op} {layer.index}")
        found += [("on the host", f"{', '.join(named)}: {reason}") for reason, named in reasons.items()]
    return found


def _html(study: Study, sections: list[Section]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    inline = {
        figure.name: Markup(_inline(figure.name, figure.svg))  # matplotlib has escaped its texts
        for section in sections
        for figure in section.figures
        if figure.svg is not None
    }
    return template.render(
        study=study,
        sections=sections,
        inline=inline,
        tiles=tiles(study),
        conditions=conditions(study),
        palette=PALETTE,
    )


def _inline(name: str, text: str) -> str:
    """A figure for the page: its colours are the page's, its names its own, its size that of its place."""
    text = text[text.index("<svg") :]
    for color, value in PALETTE.items():
        text = re.sub(re.escape(value), f"var(--{color})", text, flags=re.IGNORECASE)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r'\1 role="img"', text, count=1)


def _standalone(text: str | None) -> str:
    """A figure for a file: on white, as its colours are for a light page."""
    text = text or ""
    head = text.index(">", text.index("<svg")) + 1
    return f'{text[:head]}<rect width="100%" height="100%" fill="#ffffff"/>{text[head:]}'


def _markdown(study: Study, sections: list[Section]) -> Iterator[str]:
    config = study.program.config
    yield f"# {_plain(study.graph.name)} on {_plain(config.name)}"
    yield ""
    for tile in tiles(study):
        yield f"- **{tile.value}** {tile.label} ({tile.detail})"
    for section in sections:
        if not section.figures and not section.all_tables:
            continue
        yield from ("", f"## {section.title}")
        for figure in section.figures:
            yield from ("", f"### {figure.title}", "", figure.sentence)
            if figure.svg is not None:
                yield from ("", f"![{figure.title}](figures/{figure.name}.svg)")
        for table in section.all_tables:
            yield from ("", f"### {table.title}", "", table.note, "")
            yield "| " + " | ".join(map(_plain, table.columns)) + " |"
            yield "|" + "|".join("---:" if table.numeric(i) else "---" for i in range(len(table.columns))) + "|"
            for row in table.rows:
                yield "| " + " | ".join(_plain(cell.text) for cell in row) + " |"
    yield from ("", "## Conditions", "")
    for name, text in conditions(study):
        yield f"- {name}: {_plain(text)}"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _csv(table: Table) -> str:
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        values: list[Any] = ["" if cell.value is None else cell.value for cell in row]
        writer.writerow(values)
    return target.getvalue()
