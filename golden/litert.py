"""LiteRT as an oracle: the same network, computed by the package `ai-edge-litert`, tensor by tensor.

Version 1.2.0 is the one to compare with: its reference kernels compute what TensorFlow Lite Micro computes, later ones
differ in FULLY_CONNECTED.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph import Graph, ModelError
from .numerics import Profile
from .runtime import Execution

RESOLVERS = MappingProxyType(
    {
        Profile.TFLM: "BUILTIN_REF",
        Profile.LITERT_OPT: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
        Profile.XNNPACK: "BUILTIN",
    }
)
"""The profiles that LiteRT 1.2.0 can follow, and its name for the kernels that do."""


class LiteRT:
    """A network in LiteRT's interpreter, single-threaded, with every intermediate tensor kept.

    Parameters
    ----------
    model
        The bytes of the `.tflite` file.
    profile
        One of `RESOLVERS`.

    Raises
    ------
    ModelError
        The package is not installed, cannot follow the profile, or refuses the model.
    """

    def __init__(self, model: bytes, profile: Profile = Profile.TFLM) -> None:
        try:
            from ai_edge_litert import interpreter
        except ImportError as error:
            raise ModelError(
                "LiteRT is not installed: pip install ai-edge-litert==1.2.0 (Python 3.11 or 3.12)"
            ) from error
        if profile not in RESOLVERS:
            known = ", ".join(p.value for p in RESOLVERS)
            raise ModelError(f"LiteRT 1.2.0 does not compute like {profile.value}; it can follow {known}")
        try:
            with warnings.catch_warnings():
                # Keeping all tensors takes memory, it says; that is what is wanted.
                warnings.simplefilter("ignore")
                self._interpreter: Any = interpreter.Interpreter(
                    model_content=model,
                    experimental_op_resolver_type=getattr(interpreter.OpResolverType, RESOLVERS[profile]),
                    experimental_preserve_all_tensors=True,
                    num_threads=1,
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            if missing := re.match(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", reason):
                kind, version = missing.groups()
                others = " or ".join(p.value for p in RESOLVERS if p is not profile)
                reason = f"it has no {kind} of version {version} like that of {profile.value}; {others} may have one"
            raise ModelError(f"LiteRT refuses the model: {reason}") from error

    def run(self, graph: Graph, inputs: Sequence[npt.ArrayLike]) -> Execution:
        """One inference from the state that the last one left.

        Parameters
        ----------
        graph
            What was read from the same file: it says which tensors exist.
        inputs
            As for `runtime.run`.

        Raises
        ------
        ModelError
            LiteRT fails, or the inputs do not fit.
        """
        try:
            for detail, array in zip(self._interpreter.get_input_details(), inputs, strict=True):
                self._interpreter.set_tensor(detail["index"], np.asarray(array))
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT fails: {str(error).splitlines()[0]}") from error
        written = {index for operator in graph.operators for index in operator.outputs}
        tensors = {}
        for tensor in graph.tensors:
            if tensor.index in written or not tensor.constant:
                try:
                    tensors[tensor.index] = self._interpreter.get_tensor(tensor.index)
                except ValueError:
                    continue  # resources, and what nothing uses, have no value
        outputs = tuple(self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details())
        return Execution(MappingProxyType(tensors), outputs)
