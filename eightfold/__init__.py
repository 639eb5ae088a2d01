"""Eightfold runs quantized networks to the bit on an int8 systolic accelerator described in Amaranth.

    import eightfold as ef

    graph = ef.load("digits.tflite")
    program = ef.compile(graph, ef.Config.named("16x16"))
    result = ef.run(program, image, backend="icarus")
    result.bit_exact, result.cycles, result.outputs

Names are imported when they are first used, so that `import eightfold` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler.compilation import compile
    from .compiler.program import CompileError, Program
    from .golden.graph import Graph, ModelError
    from .golden.numerics import Profile
    from .golden.reader import read as load
    from .hw.config import Config, ConfigError
    from .hw.export import export
    from .sim.errors import MachineError, SimulatorError
    from .sim.model import CycleProfile, profile
    from .sim.result import LayerResult, RunResult
    from .sim.sharded import run_sharded
    from .sim.simulation import Simulation, run

__version__ = "0.1.0"

_PLACES = {
    "CompileError": ("compiler.program", "CompileError"),
    "Config": ("hw.config", "Config"),
    "ConfigError": ("hw.config", "ConfigError"),
    "CycleProfile": ("sim.model", "CycleProfile"),
    "Graph": ("golden.graph", "Graph"),
    "LayerResult": ("sim.result", "LayerResult"),
    "MachineError": ("sim.errors", "MachineError"),
    "ModelError": ("golden.graph", "ModelError"),
    "Profile": ("golden.numerics", "Profile"),
    "Program": ("compiler.program", "Program"),
    "RunResult": ("sim.result", "RunResult"),
    "Simulation": ("sim.simulation", "Simulation"),
    "SimulatorError": ("sim.errors", "SimulatorError"),
    "compile": ("compiler.compilation", "compile"),
    "export": ("hw.export", "export"),
    "load": ("golden.reader", "read"),
    "profile": ("sim.model", "profile"),
    "run": ("sim.simulation", "run"),
    "run_sharded": ("sim.sharded", "run_sharded"),
}

__all__ = [
    "CompileError",
    "Config",
    "ConfigError",
    "CycleProfile",
    "Graph",
    "LayerResult",
    "MachineError",
    "ModelError",
    "Profile",
    "Program",
    "RunResult",
    "Simulation",
    "SimulatorError",
    "compile",
    "export",
    "load",
    "profile",
    "run",
    "run_sharded",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'eightfold' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = globals()[name] = getattr(import_module(f".{module}", __name__), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
