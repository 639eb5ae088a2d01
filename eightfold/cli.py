"""The command line: a thin layer over the public API.

Errors that a user can mend are one line on stderr and exit status 2; what goes to stdout is only what was asked for.
"""

from __future__ import annotations

import errno
import functools
import inspect as inspect_module
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .examples import EXAMPLES
from .files import OutputError, check_folder, folder, replacing, write_folder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .compiler.program import Program
    from .golden.graph import Graph
    from .golden.numerics import Profile
    from .hw.config import Config
    from .sim.simulation import Report
    from .sim.trace import Run


class _Commands(typer.Typer):
    """Gives every command its examples, and the option --quiet."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        def register(function: Callable[..., None]) -> Callable[..., None]:
            examples = EXAMPLES.get(name or function.__name__, ())
            if examples:
                settings["epilog"] = "\n\n".join(("Examples:", *examples))
            register_command = super(_Commands, self).command(name, **settings)
            register_command(_with_quiet(function))
            return function

        return register


def _with_quiet(function: Callable[..., None]) -> Callable[..., None]:
    """The same command with one option more."""

    @functools.wraps(function)
    def command(*arguments: Any, quiet: bool, **options: Any) -> None:
        _quiet.set(quiet)
        function(*arguments, **options)

    signature = inspect_module.signature(function, eval_str=True)
    option = inspect_module.Parameter(
        "quiet", inspect_module.Parameter.KEYWORD_ONLY, default=False, annotation=QuietOption
    )
    parameters = [*signature.parameters.values(), option]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show nothing but errors, and what is asked for by a - for stdout.")
]

app = _Commands(
    help="Runs quantized networks to the bit on an int8 systolic accelerator.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="The network.", show_default=False)]
ProgramArgument = Annotated[
    Path, typer.Argument(metavar="MODEL.tflite", help="The network, or a compiled .efp file.", show_default=False)
]
InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="FILE.npy|random:SEED",
        help="An input, in the network's type and shape; once per input of the network.",
        show_default="random:0",
    ),
]


def _config_names(incomplete: str) -> list[str]:
    from .hw.config import NAMED

    return [name for name in NAMED if name.startswith(incomplete)]


def _profile_names(incomplete: str) -> list[str]:
    from .golden.numerics import Profile

    return [profile.value for profile in Profile if profile.value.startswith(incomplete)]


def _backend_names(incomplete: str) -> list[str]:
    from .sim.simulation import ALIASES, BACKENDS

    return [name for name in (*BACKENDS, *ALIASES) if name.startswith(incomplete)]


def _energy_names(incomplete: str) -> list[str]:
    from .reports.energy import TABLES

    return [name for name in TABLES if name.startswith(incomplete)]


def _config_option(**more: Any) -> Any:
    return typer.Option(
        "--config",
        metavar="NAME|FILE.toml",
        help="The machine: 4x4, 8x8, 8x8-small, 8x8-mini, 16x16, 32x32, or a file.",
        autocompletion=_config_names,
        **more,
    )


_COMPILED = ".efp"
"""How the name of a compiled program's file ends."""

_CONFIG = "16x16"

ConfigOption = Annotated[str, _config_option()]
ProgramConfigOption = Annotated[str | None, _config_option(show_default=_CONFIG)]
"""Where a compiled program may be given, which has a machine: None is nobody's wish."""

_PROFILE = "tflm"

ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Whose arithmetic: tflm, litert-ref, litert-opt, single or xnnpack.",
        show_default=_PROFILE,
        autocompletion=_profile_names,
    ),
]
FuseOption = Annotated[
    bool,
    typer.Option("--fuse/--no-fuse", help="Compute layers together, strip by strip, where that saves time."),
]
LatencyOption = Annotated[int, typer.Option("--latency", help="Memory latency in cycles.")]
EnergyOption = Annotated[
    str,
    typer.Option(
        "--energy",
        metavar="45nm|7nm|FILE.toml",
        help="What actions cost; see docs/energy.md.",
        autocompletion=_energy_names,
    ),
]
ResidentOption = Annotated[
    bool,
    typer.Option("--resident", help="All weights are on the chip before the run, if they fit; it loads none."),
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the figures as JSON; - is stdout.")
]
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE.json", help="Write a trace for ui.perfetto.dev or chrome://tracing."),
]

INTERRUPTED = 130
"""The exit status of a command that an interrupt ended; docs/command-line.md lists them all."""

_FILE_WIDTH = 120
_ROOM = 10_000
_FIGURES = (".png", ".svg", ".pdf")
_TIMELESS = ("commands", "golden")


class UsageError(ValueError):
    """A command line that cannot be followed."""


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"eightfold {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def run(
    model: ProgramArgument,
    inputs: InputsOption = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What computes: icarus or verilator (the RTL; fast is verilator), model (its cycles only), "
            "commands (no cycles) or golden.",
            autocompletion=_backend_names,
        ),
    ] = "icarus",
    config: ProgramConfigOption = None,
    profile: ProfileOption = None,
    fuse: FuseOption = True,
    resident: ResidentOption = False,
    json_file: JsonOption = None,
    dump: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Write every tensor.")] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.png|svg|pdf", help="Draw cycles per layer.")] = None,
    waves: Annotated[
        Path | None,
        typer.Option(metavar="FILE.vcd|fst", help="Write the machine's waveforms, and views of them beside."),
    ] = None,
    trace: TraceOption = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="A:B|A", help="Run only layers A to B-1 (or A), from the golden runtime's tensors."),
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="Run each layer alone, many at once; what is done stays done.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --sharded: layers at once; by default, the processors.", min=1),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --sharded: a Dask scheduler, as tcp://host:8786.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --sharded: where the layers' results go.", show_default="out/sharded"),
    ] = None,
    latency: LatencyOption = 20,
    stalls: Annotated[float, typer.Option(help="Chance that a bus channel pauses in a cycle, 0 to 0.99.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the stalls.")] = 1,
) -> None:
    """Run a network once; show what each layer cost, and whether it agrees with the golden runtime."""
    import numpy as np

    from .reports.table import run_report
    from .sim.errors import MachineError, SimulatorError
    from .sim.sharded import run_sharded
    from .sim.simulation import run as run_program

    if trace is not None and backend in _TIMELESS:
        raise UsageError(f"--trace is {str(trace)!r}; the backend {backend} has no cycles")
    if figure is not None and (figure.suffix not in _FIGURES or backend in _TIMELESS):
        raise UsageError(
            f"--figure is {str(figure)!r}, the backend {backend}; "
            f"a file that ends in {', '.join(_FIGURES)} and a backend with cycles, such as icarus, were expected"
        )
    refused = (
        {"--trace": trace, "--waves": waves} if sharded else {"--jobs": jobs, "--scheduler": scheduler, "--out": out}
    )
    for option, value in refused.items():
        if value is not None:
            raise UsageError(f"{option} is {str(value)!r}; it goes {'not ' if sharded else 'only '}with --sharded")
    if sharded and resident:
        raise UsageError("--resident goes not with --sharded, whose layers are each alone")
    program, values = _task(model, config, profile, inputs or [], layers, fuse=fuse, resident=resident)
    with ExitStack() as stack:
        json_part = stack.enter_context(replacing(Path(json_file))) if json_file not in (None, "-") else None
        dump_part = stack.enter_context(replacing(dump)) if dump else None
        figure_part = stack.enter_context(replacing(figure)) if figure else None
        trace_part = stack.enter_context(replacing(trace)) if trace else None
        if waves is not None:
            stack.enter_context(_views(waves, program.config, backend))
        # The waveforms of a run that failed are what one wants to look at.
        waves_part = stack.enter_context(replacing(waves, keep_on=(MachineError, SimulatorError))) if waves else None
        settings: dict[str, Any] = {"latency": latency, "stalls": stalls, "seed": seed}
        with _progress(f"{program.graph.name} on {program.config.name}") as report:
            if sharded:
                place = out or Path("out/sharded")
                settings |= {"out": place, "jobs": jobs, "scheduler": scheduler}
                result = run_sharded(program, values, backend, **settings, progress=report)
            else:
                result = run_program(program, values, backend, **settings, waves=waves_part, progress=report)
        text = _json(result.to_json())
        if json_part is not None:
            with _said_of(json_file):
                json_part.write_text(text, encoding="utf-8")
        if dump_part is not None:
            arrays: dict[str, Any] = {name: value for name, value in result.dump().items() if value.dtype != object}
            with _said_of(dump), dump_part.open("wb") as file:
                np.savez(file, **arrays)
        if trace_part is not None:
            _write_trace(trace_part, program, result.runs)
        if figure_part is not None:
            from .reports.figure import save_figure

            with _said_of(figure):
                save_figure(result, figure_part)
    if json_file == "-":
        typer.echo(text, nl=False)
    else:
        _show(run_report(result))
        if result.divergence is not None:
            _say(f"first divergence: {result.divergence}")


@app.command()
def inspect(
    model: ModelArgument,
    json_file: JsonOption = None,
) -> None:
    """Show what is in a network: operators, tensors, quantization, MACs, weight bytes."""
    from .golden.reader import read
    from .reports.inspection import inspect as facts
    from .reports.inspection import inspection_report

    inspection = facts(read(model))
    _deliver(inspection.to_json(), json_file, inspection_report(inspection))


@app.command()
def compare(
    model: ModelArgument,
    profiles: Annotated[
        str, typer.Option(metavar="A,B", help="Whose arithmetic: two profiles, or one beside --oracle or --dump.")
    ] = "tflm",
    inputs: InputsOption = None,
    oracle: Annotated[
        str | None, typer.Option(metavar="litert", help="Compare with LiteRT, where it is installed.")
    ] = None,
    dump: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Compare with the tensors that `run --dump` wrote.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Show where two computations of a network part: two profiles, golden and LiteRT, golden and a run of the RTL."""
    from .golden.compare import compare_profiles, compare_with
    from .golden.litert import LiteRT
    from .golden.reader import read
    from .reports.comparison import comparison_json, comparison_report

    chosen = [_profile(name.strip(), "--profiles") for name in profiles.split(",")]
    others = [name for name, value in (("--oracle", oracle), ("--dump", dump)) if value is not None]
    if len(chosen) + len(others) != 2:
        raise UsageError(
            f"--profiles is {profiles!r} beside {' and '.join(others) or 'nothing'}; "
            "two profiles, or one with either --oracle or --dump, were expected"
        )
    if oracle not in (None, "litert"):
        raise UsageError(f"--oracle is {oracle!r}; litert was expected")
    graph = read(model)
    values = _inputs(graph, inputs or [])
    if oracle is not None:
        other = LiteRT(model.read_bytes(), chosen[0]).run(graph, values)
        comparison = compare_with(
            graph, values, chosen[0], other.tensors, name=f"LiteRT ({chosen[0].value})", other_profile=chosen[0]
        )
    elif dump is not None:
        comparison = compare_with(graph, values, chosen[0], _dumped(dump), name=str(dump))
    else:
        comparison = compare_profiles(graph, values, chosen[0], chosen[1])
    _deliver(comparison_json(graph.name, comparison), json_file, comparison_report(graph.name, comparison))


@app.command("profile")
def profile_command(
    model: ProgramArgument,
    config: ProgramConfigOption = None,
    profile: ProfileOption = None,
    fuse: FuseOption = True,
    resident: ResidentOption = False,
    latency: LatencyOption = 20,
    json_file: JsonOption = None,
    trace: TraceOption = None,
) -> None:
    """Show what a network costs on a machine, in the RTL's own cycles, without running it."""
    from .reports.profile import profile_report
    from .sim.model import profile as model_cycles

    program = _program(model, config, profile, fuse=fuse, resident=resident)
    cycles = model_cycles(program, latency)
    if trace is not None:
        with replacing(trace) as part:
            _write_trace(part, program, cycles.runs())
    _deliver(cycles.to_json(), json_file, profile_report(cycles))


@app.command()
def report(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report goes.", show_default=False)],
    inputs: InputsOption = None,
    config: ProgramConfigOption = None,
    profile: ProfileOption = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What to compare with the golden runtime: fast or icarus (the RTL); model: nothing.",
            autocompletion=_backend_names,
        ),
    ] = "model",
    latency: LatencyOption = 20,
    energy: EnergyOption = "45nm",
    clock: Annotated[float, typer.Option(help="Megahertz, for times and powers.")] = 500.0,
    json_file: JsonOption = None,
) -> None:
    """Write a page that shows what a network costs on a machine, why, and what quantization saved."""
    from .reports.energy import EnergyTable
    from .reports.float_design import FloatTask, float_design_beside
    from .reports.page import render
    from .reports.study import study

    if not 0 < clock < math.inf:
        raise UsageError(f"--clock is {clock:g}; megahertz above 0 were expected")
    if backend == "golden":
        raise UsageError("--backend is 'golden', with which others are compared; fast, icarus or model was expected")
    table = EnergyTable.from_toml(energy) if energy.endswith(".toml") else EnergyTable.named(energy)
    check_folder(out)
    with ExitStack() as stack:
        json_part = stack.enter_context(replacing(Path(json_file))) if json_file not in (None, "-") else None
        network = _network(model, config, profile)
        values = _inputs(network.graph, inputs or [])
        with (
            _stages(f"{network.graph.name} on {network.config.name}") as told,
            float_design_beside(FloatTask(network.graph, network.config, network.profile, latency)) as wide,
        ):
            told("compilation")
            program = network.compile()
            found = study(
                program,
                values,
                described=", ".join(inputs or ["random:0"]),
                backend=backend,
                latency=latency,
                table=table,
                clock=1e6 * clock,
                file_bytes=model.stat().st_size,
                wide=wide,
                told=told,
            )
            pages = render(found, told)
        write_folder(out, {name: text.encode() for name, text in pages.items()}, "report.sha256")
        if json_part is not None:
            with _said_of(json_file):
                json_part.write_text(_json(found.to_json()), encoding="utf-8")
    if json_file == "-":
        typer.echo(_json(found.to_json()), nl=False)
    else:
        from .reports.page import tiles

        for tile in tiles(found):
            _say(f"{tile.value} {tile.label} ({tile.detail})")
        _say(f"{out / 'report.html'} shows it; report.md, report.json, tables/ and figures/ hold the same")


@app.command()
def explore(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL.tflite...", help="One network or several.", show_default=False)
    ],
    rows: Annotated[str | None, typer.Option(metavar="N,...", help="Of the array.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="N,...", help="Of the array.")] = None,
    scratchpad: Annotated[str | None, typer.Option(metavar="KIB,...", help="Memory for activations.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="KIB,...", help="Memory for packed weights.")] = None,
    accumulators: Annotated[str | None, typer.Option(metavar="KIB,...", help="Memory for partial sums.")] = None,
    bus: Annotated[str | None, typer.Option(metavar="BYTES,...", help="Width of the bus.")] = None,
    lanes: Annotated[
        str | None, typer.Option(metavar="N,...", help="Of the requantization; 0 for one per column.")
    ] = None,
    rounding: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Of the requantization: double, double-up, single.")
    ] = None,
    fuse: Annotated[str | None, typer.Option(metavar="on,off", help="Whether layers are computed together.")] = None,
    sweep: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="A sweep; see docs/exploration.md.")] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Take N combinations at random.", show_default="all")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of that choice.", show_default="1")] = None,
    config: ConfigOption = _CONFIG,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Whose arithmetic.", show_default="what each machine's rounding suits"),
    ] = None,
    latency: LatencyOption = 20,
    energy: EnergyOption = "45nm",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes.", show_default="one per processor")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler instead, as tcp://host:8786.")
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINT",
            help="Run this point on the RTL: its name, fastest, frugal or smallest; may be given several times.",
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help="For --confirm: fast or icarus.")] = "fast",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where figures go, and finished points.")] = Path(
        "out/explore"
    ),
    json_file: JsonOption = None,
) -> None:
    """Show what networks cost on many machines, and which machines none beats; goes on where it was interrupted."""
    from .exploring import confirm as on_rtl
    from .exploring import files_of, networks_of, space_of
    from .reports.energy import EnergyTable
    from .reports.exploration.sweep import explore as visit
    from .reports.exploration.tables import exploration_report
    from .sim.simulation import ALIASES, RTL

    if ALIASES.get(backend, backend) not in RTL:
        raise UsageError(f"--backend is {backend!r}; fast or icarus was expected")
    lists = {
        "rows": rows,
        "columns": columns,
        "scratchpad_bytes": scratchpad,
        "weight_bytes": weights,
        "accumulator_bytes": accumulators,
        "bus_bytes": bus,
        "lanes": lanes,
        "rounding": rounding,
        "fuse": fuse,
    }
    space = space_of(_config(config), sweep, lists, sample, seed)
    table = EnergyTable.from_toml(energy) if energy.endswith(".toml") else EnergyTable.named(energy)
    chosen = None if profile is None else _profile(profile)
    check_folder(out)
    networks = networks_of(models)
    settings: dict[str, Any] = {"profile": chosen, "latency": latency, "table": table}
    try:
        with _bar("exploring", "points") as show:
            found = visit(
                networks,
                space,
                out=out,
                jobs=jobs,
                scheduler=scheduler,
                told=lambda done, total: show(done / max(1, total), done),
                **settings,
            )
    except KeyboardInterrupt:
        sys.stderr.write(f"eightfold: finished points are kept in {out}; the same command goes on from there\n")
        raise
    confirmed: list[dict[str, Any]] = []
    write_folder(out, files_of(found, confirmed), "explore.sha256")
    if not found.visited:
        first = found.skipped[0]
        raise UsageError(
            f"every point was skipped ({len(found.skipped):,}); {first.name}: {first.reason}; {out / 'skipped.csv'} "
            "lists them"
        )
    if confirm:
        with _stages("confirming") as told:
            confirmed += on_rtl(found, networks, confirm, backend=backend, profile=chosen, told=told)
        write_folder(out, files_of(found, confirmed), "explore.sha256")
    if json_file is not None:
        _deliver(found.to_json() | {"confirmed": confirmed}, json_file, "")
        return
    _show(exploration_report(found))
    for run in confirmed:
        agree = (
            "as the model says"
            if run["rtl_cycles"] == run["model_cycles"]
            else f"the model says {run['model_cycles']:,}"
        )
        exact = "every tensor exact" if run["bit_exact"] else "tensors differ"
        _say(f"{run['point']}, {run['network']}: {run['rtl_cycles']:,} cycles on the RTL, {agree}; {exact}")
    _say(f"{out}: {', '.join(files_of(found, confirmed))}")


@app.command()
def compile(
    model: ModelArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.efp", help="Write the program.")] = None,
    config: ProgramConfigOption = None,
    profile: ProfileOption = None,
    fuse: FuseOption = True,
    listing: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the program as text; - is stdout.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Compile a network for a machine: commands, packed weights, memory layout."""
    if listing == json_file == "-":
        raise UsageError("--listing and --json are both -; stdout holds one of them")
    program = _program(model, config, profile, fuse=fuse)
    if out is not None:
        with replacing(out) as part, _said_of(out):
            program.save(part)
    if listing == "-":
        typer.echo(program.listing(), nl=False)
    elif listing is not None:
        _write(Path(listing), program.listing())
    if json_file is not None:
        _deliver(_program_json(program), json_file, "")
    elif listing is None:
        _say(repr(program))


@app.command()
def export(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL.tflite]", help="What the test bench runs.", show_default="digits"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = ...,  # type: ignore[assignment]
    config: ProgramConfigOption = None,
    profile: ProfileOption = None,
    inputs: InputsOption = None,
    json_file: JsonOption = None,
) -> None:
    """Write a machine as Verilog, with all that an FPGA flow wants, and a test that needs no Python."""
    from .exporting import example, export_files

    if model is None and inputs:
        raise UsageError("--input is given without a network; MODEL.tflite was expected")
    if model is None:
        program, values = example(_config(config))
    else:
        program = _program(model, config, profile)
        values = _inputs(program.graph, inputs or [])
    files = export_files(program, values)
    write_folder(out, files)
    if json_file is not None:
        listed = {"format": "eightfold-export/1", "config": program.config.as_dict(), "files": sorted(files)}
        _deliver(listed, json_file, "")
    else:
        _say(f"{out}: {len(files)} files, module eightfold, {program.config!r}; try `make -C {out} test`")


@app.command()
def synth(
    config: ConfigOption = "8x8",
    target: Annotated[str, typer.Option(help="The family of FPGAs: ecp5, ice40, xilinx or gowin.")] = "ecp5",
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="The FPGA.", show_default="the target's usual one")
    ] = None,
    part: Annotated[str, typer.Option(help="What to synthesize: machine, or array for the systolic array alone.")] = (
        "machine"
    ),
    seeds: Annotated[
        int, typer.Option(metavar="N", min=0, help="Place and route so many times, for the clock; may take minutes.")
    ] = 0,
    json_file: JsonOption = None,
) -> None:
    """Show what a machine takes of an FPGA, by component, and how fast it is there."""
    from .reports.synthesis import synthesis_report, synthesize

    result = synthesize(_config(config), target, device=device, part=part, seeds=seeds)
    _deliver(result.to_json(), json_file, synthesis_report(result))


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(metavar="FLOAT.tflite", help="A float network.", show_default=False)],
    calibration: Annotated[
        Path,
        typer.Option(metavar="DATA.npz", help="Samples that show the ranges of activations.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="INT8.tflite", help="The result.", show_default=False)],
    test: Annotated[
        Path | None, typer.Option(metavar="DATA.npz", help="Samples to measure on, instead of those of --calibration.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Calibrate on the first N samples only.")
    ] = None,
    per_channel: Annotated[
        bool | None,
        typer.Option(
            "--per-channel/--per-tensor",
            help="A scale for each output channel of the weights, or one for all.",
            show_default="per channel, with --uint8 per tensor",
        ),
    ] = None,
    uint8: Annotated[
        bool, typer.Option("--uint8", help="The legacy format: uint8, weights with a zero point.")
    ] = False,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Activations without zero point.")] = False,
    ranges: Annotated[str, typer.Option(help="How ranges are chosen: minmax, percentile or mse.")] = "minmax",
    percentile: Annotated[
        float, typer.Option(metavar="P", help="Percent of the values that --ranges percentile covers at each end.")
    ] = 99.99,
    equalize: Annotated[bool, typer.Option("--equalize", help="Even out channels between layers first.")] = False,
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction", help="Take the mean error of the weights from the biases.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Quantize a float network after training; show what that cost, layer by layer."""
    from .golden.reader import read
    from .golden.writer import write
    from .inputs import read_arrays
    from .reports.quantization import quantization_report
    from .training.calibration import METHODS
    from .training.float16 import widened
    from .training.post_training import Settings, quantize_after_training
    from .training.quantization import Scheme, check_float
    from .training.samples import samples_of

    chosen = next((method for method in METHODS if method == ranges), None)
    if chosen is None:
        raise UsageError(f"--ranges is {ranges!r}; one of {', '.join(METHODS)} was expected")
    if not 50 < percentile <= 100:
        raise UsageError(f"--percentile is {percentile:g}; above 50 and at most 100 was expected")
    if uint8 and per_channel:
        raise UsageError("--uint8 has one scale per tensor; --per-channel cannot be followed")
    scheme = Scheme("uint8" if uint8 else "int8", not uint8 if per_channel is None else per_channel, symmetric)
    settings = Settings(scheme, chosen, percentile, equalize, bias_correction)
    graph = read(model)
    check_float(widened(graph))
    data = samples_of(graph, read_arrays(calibration), str(calibration))
    measured = data if test is None else samples_of(graph, read_arrays(test), str(test))
    with replacing(out) as part:
        with _bar(f"quantizing {graph.name}", "inferences") as show:
            result = quantize_after_training(
                graph,
                data.first(samples or len(data)),
                settings,
                test=measured,
                report=lambda done, total: show(done / total, done),
            )
        with _said_of(out):
            part.write_bytes(write(result.graph))
    _deliver(result.measurement.to_json(), json_file, quantization_report(result.measurement))


@app.command()
def dequantize(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FLOAT.tflite", help="The result.", show_default=False)],
    json_file: JsonOption = None,
) -> None:
    """Write the float network that an integer network stands for, to quantize it in another way."""
    from .golden.reader import read
    from .golden.writer import write
    from .training.dequantization import dequantize as in_float

    graph = in_float(read(model))
    with replacing(out) as part, _said_of(out):
        part.write_bytes(write(graph))
    if json_file is not None:
        made = {"format": "eightfold-dequantize/1", "model": graph.name, "operators": len(graph.operators)}
        _deliver(made | {"file": str(out), "file_bytes": out.stat().st_size}, json_file, "")
    else:
        _say(f"{out}: {graph!r}")


@app.command()
def schemes(
    model: Annotated[Path, typer.Argument(metavar="FLOAT.tflite", help="A float network.", show_default=False)],
    calibration: Annotated[
        Path,
        typer.Option(metavar="DATA.npz", help="Samples that show the ranges of activations.", show_default=False),
    ],
    test: Annotated[
        Path, typer.Option(metavar="DATA.npz", help="Samples to measure on, best with labels.", show_default=False)
    ],
    trained: Annotated[
        list[Path] | None,
        typer.Option(metavar="INT8.tflite", help="A network that was trained with quantization; once for each."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Quantize a float network in many ways; show accuracy, noise and bytes side by side."""
    from .golden.reader import read
    from .inputs import read_arrays
    from .reports.quantization import schemes_report
    from .training.float16 import widened
    from .training.quantization import check_float
    from .training.samples import samples_of
    from .training.schemes import compare_schemes

    graph = read(model)
    check_float(widened(graph))
    data, measured = (samples_of(graph, read_arrays(path), str(path)) for path in (calibration, test))
    stems = [path.stem for path in trained or []]
    networks = {path.stem if stems.count(path.stem) == 1 else str(path): read(path) for path in trained or []}
    with _bar(f"quantizing {graph.name}", "ways") as show:
        comparison = compare_schemes(
            graph, data, measured, networks, report=lambda done, total: show(done / total, done)
        )
    _deliver(comparison.to_json(), json_file, schemes_report(comparison))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where JSON and figure go.")] = Path("out/demo"),
    images: Annotated[int, typer.Option(help="Test images to recognise.")] = 8,
    config: ConfigOption = _CONFIG,
    json_file: JsonOption = None,
) -> None:
    """Run the project's digits network on the RTL, on real test images."""
    from .demo import demonstrate

    with _progress(f"digits on {config}") as report:
        demonstration = demonstrate(_config(config), images, report)
    target = folder(out)
    _write(target / "demo.json", _json(demonstration.to_json()))
    with replacing(target / "layers.png") as part, _said_of(target / "layers.png"):
        from .reports.figure import save_figure

        save_figure(demonstration.results[0], part)
    if json_file is not None:
        _deliver(demonstration.to_json(), json_file, "")
        return
    _show(demonstration.report())
    _say(f"{target / 'demo.json'} holds all figures, {target / 'layers.png'} shows them per layer")


@app.command()
def doctor(json_file: JsonOption = None) -> None:
    """Check that tools, packages and caches are as Eightfold needs them."""
    from .doctor import examine, findings_json, findings_report, healthy

    findings = examine()
    _deliver(findings_json(findings), json_file, findings_report(findings))
    if not healthy(findings):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Network:
    """What a command is about: a network, the machine and the arithmetic; the program if it is compiled already."""

    graph: Graph
    config: Config
    profile: Profile
    program: Program | None = None

    def compile(self, *, fuse: bool = True, resident: bool = False) -> Program:
        """The program; options are for networks that are not compiled yet."""
        from .compiler.compilation import compile as compile_graph

        if self.program is not None:
            return self.program
        return compile_graph(self.graph, self.config, self.profile, fuse=fuse, resident=resident)


def _network(model: Path, config: str | None, profile: str | None) -> _Network:
    from .golden.reader import read

    if model.suffix == _COMPILED:
        program = _compiled(model, config, profile)
        return _Network(program.graph, program.config, program.profile, program)
    machine, arithmetic = _config(config), _profile(profile)  # whose names are checked before a large file is read
    return _Network(read(model), machine, arithmetic)


def _program(
    model: Path, config: str | None, profile: str | None, *, fuse: bool = True, resident: bool = False
) -> Program:
    for option, given in (("--no-fuse", not fuse), ("--resident", resident)):
        if given and model.suffix == _COMPILED:
            raise UsageError(f"{option} is for networks; {model} is compiled already")
    return _network(model, config, profile).compile(fuse=fuse, resident=resident)


def _compiled(model: Path, config: str | None, profile: str | None) -> Program:
    """The program in an .efp file, which is for the machine and the arithmetic that were asked for, if any were."""
    from .compiler.program import Program
    from .hw.registers import configuration_hash

    machine, arithmetic = _config(config), _profile(profile)  # before a large file is read, as in `_network`
    program = Program.load(model)
    if config is not None and configuration_hash(machine) != configuration_hash(program.config):
        raise UsageError(f"--config is {config!r}; {model} was compiled for {program.config.name}")
    if profile is not None and arithmetic != program.profile:
        raise UsageError(f"--profile is {profile!r}; {model} was compiled for {program.profile.value}")
    return program


def _task(
    model: Path,
    config: str | None,
    profile: str | None,
    sources: list[str],
    layers: str | None,
    *,
    fuse: bool,
    resident: bool,
) -> tuple[Program, list[Any]]:
    """What to run, and on what: the network, or some layers of it."""
    from .sim.layers import inputs_of, layers_of, parse_layers

    if layers is None:
        program = _program(model, config, profile, fuse=fuse, resident=resident)
        return program, _inputs(program.graph, sources)
    chosen = parse_layers(layers)
    whole = _network(model, config, profile)
    part = layers_of(whole.graph, chosen)
    values = inputs_of(part, whole.graph, _inputs(whole.graph, sources), whole.profile)
    return _Network(part, whole.config, whole.profile).compile(fuse=fuse, resident=resident), values


def _program_json(program: Program) -> dict[str, Any]:
    """What a compiled network is, as plain values; docs/command-line.md describes it."""
    from .compiler.program import HostStep, MachineStep

    streams = [step for step in program.steps if isinstance(step, MachineStep)]
    return {
        "format": "eightfold-program/1",
        "model": program.graph.name,
        "config": program.config.name,
        "profile": program.profile.value,
        "operators": len(program.graph.operators),
        "on_machine": sorted(program.machine_operators),
        "on_host": {str(step.operator): step.reason for step in program.steps if isinstance(step, HostStep)},
        "streams": len(streams),
        "commands": sum(len(step.commands) for step in streams),
        "dram_bytes": program.memory.dram_bytes,
        "packed_weight_bytes": program.memory.weights.size,
        "stream_bytes": program.memory.streams.size,
    }


def _profile(name: str | None, option: str = "--profile") -> Profile:
    from .golden.numerics import Profile

    name = _PROFILE if name is None else name
    profiles = [known.value for known in Profile]
    if name not in profiles:
        raise UsageError(f"{option} is {name!r}; one of {', '.join(profiles)} was expected")
    return Profile(name)


def _dumped(path: Path) -> dict[int, Any]:
    """The tensors in a file that `run --dump` wrote, by index."""
    from .inputs import read_arrays

    arrays = read_arrays(path)
    return {int(name[6:]): arrays[name] for name in arrays if name.startswith("tensor") and name[6:].isdecimal()}


def _config(name: str | None) -> Config:
    from .hw.config import Config

    name = _CONFIG if name is None else name
    return Config.from_toml(name) if name.endswith(".toml") else Config.named(name)


def _inputs(graph: Graph, sources: list[str]) -> list[Any]:
    from .inputs import random_input, read_input

    if not sources:
        sources = ["random:0"] * len(graph.inputs)
    if len(sources) != len(graph.inputs):
        raise UsageError(f"--input is given {len(sources)} times; {graph.name} has {len(graph.inputs)} inputs")
    return [
        random_input(graph, position, source) if source.startswith("random:") else read_input(graph, position, source)
        for position, source in enumerate(sources)
    ]


@contextmanager
def _progress(title: str) -> Iterator[Report]:
    """A bar on stderr for a run of the machine."""
    with _bar(title, "cycles") as show:
        yield lambda state: show(state.fraction, state.cycles)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[float, int], None]]:
    """A bar on stderr; it is told what share is done, and a count of `unit`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.percentage:>3.0f}} %  {{task.fields[count]:,}} {unit}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=_quiet.get() or not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0, count=0)

        def show(share: float, count: int) -> None:
            bar.update(task, completed=share, count=count)

        yield show


@contextmanager
def _stages(title: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is being done."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False)
    if _quiet.get() or not console.is_terminal:
        yield lambda what: None
        return
    with console.status(title) as status:
        yield lambda what: status.update(f"{title}: {what}")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _deliver(value: dict[str, Any], json_file: str | None, report: RenderableType) -> None:
    """Writes the value as JSON where that was asked for; else shows the report."""
    if json_file == "-":
        typer.echo(_json(value), nl=False)
    elif json_file is not None:
        _write(Path(json_file), _json(value))
    else:
        _show(report)


def _say(text: str) -> None:
    """A line about what was done."""
    if not _quiet.get():
        typer.echo(text)


def _show(report: RenderableType) -> None:
    """What people read of a result."""
    if _quiet.get():
        return
    from rich.console import Console, Group
    from rich.table import Table

    console = Console(highlight=False, markup=False)  # names may have brackets
    if not console.is_terminal:
        console.width = _ROOM  # a file or a pipe has room for whole tables
        tables = [part for part in (report.renderables if isinstance(report, Group) else ()) if isinstance(part, Table)]
        console.width = max([_FILE_WIDTH, *(console.measure(table).maximum for table in tables)])
    console.print(report)


def _write_trace(path: Path, program: Program, runs: Iterable[Run]) -> None:
    from .sim.trace import write_trace

    try:
        write_trace(path, program, runs)
    except OSError as error:
        raise OutputError(f"the trace cannot be written: {error.strerror}") from None


@contextmanager
def _views(waves: Path, config: Config, backend: str) -> Iterator[None]:
    """Writes what selects the important signals in viewers of waveforms, if waveforms have come about."""
    from .sim.simulation import ALIASES, RTL
    from .sim.views import views

    try:
        yield
    finally:
        backend = ALIASES.get(backend, backend)
        if waves.is_file() and backend in RTL:
            for suffix, text in views(config, backend).items():
                _write(waves.with_suffix(suffix), text)


def _write(path: Path, text: str) -> None:
    with replacing(path) as part, _said_of(path):
        part.write_text(text, encoding="utf-8")


@contextmanager
def _said_of(path: object) -> Iterator[None]:
    """What goes wrong with the part that takes an output's place, a full disk for example, is said of the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def _mendable(error: Exception) -> bool:
    """Whether an error is the user's to mend, and its message says how."""
    from .compiler.program import CompileError
    from .compiler.storage import ProgramError
    from .golden.graph import ModelError
    from .hw.config import ConfigError
    from .inputs import InputError
    from .reports.energy import EnergyError
    from .reports.exploration.space import SpaceError
    from .sim.errors import MachineError, SettingError, SimulatorError
    from .sim.interpreter import InterpreterError

    inputs = (ModelError, ConfigError, EnergyError, InputError, OutputError, SettingError, SpaceError, UsageError)
    return isinstance(error, (*inputs, CompileError, ProgramError, MachineError, SimulatorError, InterpreterError))


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Lets what was begun be cleared away when the process is asked to end, as an interrupt does."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    asked = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        asked = []  # where signals are the caller's
    for number in asked:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in asked:
            signal.signal(number, signal.SIG_DFL)


def main(arguments: list[str] | None = None) -> int:
    """The `eightfold` command; returns its exit status."""
    try:
        with _orderly_end():
            status = app(arguments, prog_name="eightfold", standalone_mode=False)
    except Exception as error:
        if hasattr(error, "format_message"):  # what typer finds wrong with the command line itself
            message = error.format_message()
        elif _mendable(error):
            message = str(error)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{error.filename or 'standard output'} cannot be written: {error.strerror}"
        else:
            raise
        sys.stderr.write(f"eightfold: error: {' '.join(message.split())}\n")
        return 2
    if status == INTERRUPTED:
        sys.stderr.write("eightfold: interrupted; files that were not finished are not there\n")
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
