"""What `eightfold explore` reads from its command line, writes into its folder, and lets the RTL confirm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .compiler.compilation import compile
from .golden.graph import ModelError
from .golden.numerics import Profile
from .hw.config import FIXED_POINT, KIB, Config
from .inputs import random_input
from .reports.exploration.evaluation import Network, profile_for
from .reports.exploration.figure import draw
from .reports.exploration.space import DEFAULT_AXES, FUSE, Space, SpaceError
from .reports.exploration.sweep import Exploration
from .reports.exploration.tables import figures_csv, skipped_csv
from .sim.simulation import run

_SWITCH = {"on": True, "off": False}
_SIZES = ("scratchpad_bytes", "weight_bytes", "accumulator_bytes")


def networks_of(paths: Sequence[Path]) -> list[Network]:
    """The networks in `.tflite` files, by names that are all different.

    Raises
    ------
    ModelError
        A file cannot be read, or two have the same name.
    """
    networks: dict[str, Network] = {}
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
        name = path.stem
        if name in networks:
            raise ModelError(f"{path}: another network is called {name!r} too")
        networks[name] = Network(name, content)
    return list(networks.values())


def space_of(
    base: Config, sweep: Path | None, lists: Mapping[str, str | None], sample: int | None, seed: int | None
) -> Space:
    """The sweep that a command line asks for.

    Parameters
    ----------
    base
        What nothing else names.
    sweep
        A TOML file, whose base stands.
    lists
        By axis, values with commas between; sizes in KiB. They take the place of the file's.
    sample, seed
        Take the place of the file's.

    Raises
    ------
    SpaceError
        A value is not one, or the file is no sweep.
    """
    axes = {axis: [_value(axis, word.strip()) for word in text.split(",")] for axis, text in lists.items() if text}
    space = Space.from_toml(sweep) if sweep else Space(base=base, axes={} if axes else DEFAULT_AXES)
    return replace(
        space,
        axes={**space.axes, **axes},
        sample=space.sample if sample is None else sample,
        seed=space.seed if seed is None else seed,
    )


def _value(axis: str, word: str) -> Any:
    if axis == FUSE:
        if word not in _SWITCH:
            raise SpaceError(f"--fuse has {word!r}; on or off was expected")
        return _SWITCH[word]
    if axis == "rounding":
        names = {rounding.value: rounding for rounding in FIXED_POINT}
        if word not in names:
            raise SpaceError(f"--rounding has {word!r}; one of {', '.join(names)} was expected")
        return names[word]
    try:
        return int(word) * (KIB if axis in _SIZES else 1)
    except ValueError:
        raise SpaceError(f"{axis} has {word!r}; an integer was expected") from None


def files_of(exploration: Exploration, confirmed: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """What goes into the folder, by name."""
    found = exploration.to_json() | ({"confirmed": list(confirmed)} if confirmed else {})
    files = {"explore.json": (json.dumps(found, indent=2) + "\n").encode()}
    if exploration.visited:
        files["explore.csv"] = figures_csv(exploration).encode()
        files |= {f"explore.{suffix}": draw(exploration, suffix) for suffix in ("png", "svg")}
    if exploration.skipped:
        files["skipped.csv"] = skipped_csv(exploration).encode()
    return files


def confirm(
    exploration: Exploration,
    networks: Sequence[Network],
    names: Sequence[str],
    *,
    backend: str,
    profile: Profile | None,
    told: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Runs networks on the RTL of some points, on random inputs.

    Yields
    ------
    For every network at every point: the cycles of model and RTL, and whether all tensors are the golden runtime's.
    """
    for visited in dict.fromkeys(exploration.find(name) for name in names):
        config = visited.point.config
        for network, figures in zip(networks, visited.figures, strict=True):
            told(f"{network.name} on {visited.name}")
            graph = network.graph
            program = compile(graph, config, profile or profile_for(config.rounding), fuse=visited.point.fuse)
            inputs = [random_input(graph, position, "random:0") for position in range(len(graph.inputs))]
            result = run(program, inputs, backend, latency=exploration.latency)
            yield {
                "point": visited.name,
                "network": network.name,
                "backend": result.backend,
                "model_cycles": figures.cycles,
                "rtl_cycles": result.cycles,
                "bit_exact": result.bit_exact,
            }
