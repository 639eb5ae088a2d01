"""Whether all that Eightfold needs is there: tools, packages, caches."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from rich.console import Group, RenderableType
from rich.text import Text

FORMAT = "eightfold-doctor/1"

State = Literal["good", "missing", "absent"]
"""`missing` is needed for what everyone does, `absent` for something special."""

_COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    group, name
        What kind of thing it is, and which.
    state
        Whether it is as it should be.
    found
        Its version or place; empty where there is none.
    advice
        What it is for and how to get it; empty where it is good.
    """

    group: str
    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Looks at everything; changes nothing."""
    return [*_python(), *_packages(), *_tools(), *_caches()]


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing is missing that everyone needs."""
    return all(finding.state != "missing" for finding in findings)


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """The findings as plain values."""
    return {"format": FORMAT, "healthy": healthy(findings), "findings": [asdict(finding) for finding in findings]}


def findings_report(findings: list[Finding]) -> RenderableType:
    """The findings as rich shows them."""
    from .reports.table import new_table

    styles = {"good": "green", "missing": "bold red", "absent": "yellow"}
    table = new_table("", ("", "<"), ("", "<"), ("", "<"))
    table.show_header = False
    table.add_column("", overflow="fold")
    group = ""
    for finding in findings:
        if group and finding.group != group:
            table.add_section()
        table.add_row(
            "" if finding.group == group else finding.group,
            finding.name,
            Text(finding.state, style=styles[finding.state]),
            Text(finding.found if finding.state == "good" else finding.advice),
        )
        group = finding.group
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        return Group(table, Text(f"missing: {', '.join(missing)}", style="bold red"))
    return Group(table, Text("all that Eightfold needs is there", style="green"))


def _python() -> Iterator[Finding]:
    name = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield Finding("python", "python", "good", name)
    from find_libpython import find_libpython

    library = find_libpython()
    if library:
        yield Finding("python", "shared library", "good", str(library))
    else:
        yield Finding(
            "python",
            "shared library",
            "missing",
            "",
            f"cocotb loads Python into Icarus Verilog: apt-get install libpython{sys.version_info[0]}."
            f"{sys.version_info[1]}, or a Python that was built with --enable-shared",
        )


def _packages() -> Iterator[Finding]:
    """What Eightfold's own metadata ask for; those of extras are absent at worst."""
    for text in requires("eightfold") or []:
        requirement = Requirement(text)
        extras = [extra for extra in _extras() if requirement.marker and requirement.marker.evaluate({"extra": extra})]
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if "test" in extras or not (needed or extras):
            continue
        name = requirement.name
        where = "" if needed else f"; optional: pip install 'eightfold[{extras[0]}]'"
        bad: State = "missing" if needed else "absent"
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("packages", name, bad, "", f"not installed{where or f': pip install {name}'}")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding("packages", name, "good", found)
        else:
            yield Finding("packages", name, bad, found, f"is {found}; {requirement.specifier} was expected{where}")


def _extras() -> list[str]:
    from importlib.metadata import metadata

    return metadata("eightfold").get_all("Provides-Extra") or []


def _tools() -> Iterator[Finding]:
    for tool, option in (("iverilog", "-V"), ("vvp", "-V")):
        found = _first_line(tool, option)
        if found:
            yield Finding("tools", tool, "good", found)
        else:
            yield Finding("tools", tool, "missing", "", "simulates the RTL: apt-get install iverilog")
    compiler = next((name for name in _COMPILERS if shutil.which(name)), None)
    if compiler is not None:
        yield Finding("tools", "C++ compiler", "good", _first_line(compiler, "--version") or compiler)
    else:
        yield Finding("tools", "C++ compiler", "absent", "", "the backend verilator needs one: apt-get install g++")
    viewer = next((name for name in ("gtkwave", "surfer") if shutil.which(name)), None)
    if viewer is not None:
        yield Finding("tools", "waveform viewer", "good", viewer)
    else:
        yield Finding("tools", "waveform viewer", "absent", "", "shows what --waves writes: GTKWave or Surfer")


def _first_line(tool: str, option: str) -> str:
    """What a tool says of itself; empty where it does not run."""
    try:
        run = subprocess.run([tool, option], capture_output=True, text=True, timeout=20, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip()), "")


def _caches() -> Iterator[Finding]:
    from .sim.cache import cache_folder
    from .sim.errors import SimulatorError

    try:
        folder = cache_folder()
    except SimulatorError as error:
        yield Finding("caches", "cache", "missing", "", str(error))
        return
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("caches", "cache", "missing", str(folder), f"{nearest} cannot be written: set XDG_CACHE_HOME")
        return
    kinds = sorted(place for place in folder.glob("*") if place.is_dir() and place.name != "locks")
    if not kinds:
        yield Finding("caches", "cache", "good", f"{folder}, empty")
    for kind in kinds:
        entries = [place for place in kind.iterdir() if place.is_dir()]
        size = sum(_bytes(entry) for entry in entries)
        yield Finding("caches", kind.name, "good", f"{len(entries)} entries, {size / 1e6:,.1f} MB in {kind}")


def _bytes(folder: Path) -> int:
    total = 0
    for place in folder.rglob("*"):
        try:
            total += place.lstat().st_size if place.is_file() else 0
        except OSError:  # another process has removed it meanwhile
            continue
    return total
