"""The oracle: LiteRT, and the vectors that it computed."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest


class Vectors:
    """Stored inputs and outputs of a network, and the checksums of every tensor for the first of them."""

    def __init__(self, path: Path) -> None:
        self.file = np.load(path)
        self.tensors: list[dict[str, Any]] = json.loads(str(self.file["tensors"])) if "tensors" in self.file else []

    def cases(self) -> list[int]:
        return sorted(int(name.split("_")[1]) for name in self.file.files if name.startswith("input0_"))

    def _all(self, label: str, case: int) -> list[npt.NDArray[Any]]:
        names = [name for name in self.file.files if name.startswith(label) and name.endswith(f"_{case}")]
        return [self.file[f"{label}{i}_{case}"] for i in range(len(names))]

    def inputs(self, case: int) -> list[npt.NDArray[Any]]:
        return self._all("input", case)

    def outputs(self, case: int) -> list[npt.NDArray[Any]]:
        return self._all("output", case)


def digest(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


class LiteRT:
    """A live interpreter that keeps every tensor. Profiles: tflm, litert-opt, xnnpack."""

    def __init__(self, model: bytes, profile: str = "tflm") -> None:
        interpreter = pytest.importorskip("ai_edge_litert.interpreter")
        resolver = {
            "tflm": interpreter.OpResolverType.BUILTIN_REF,
            "litert-opt": interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "xnnpack": interpreter.OpResolverType.BUILTIN,
        }[profile]
        with warnings.catch_warnings():
            # Keeping all tensors takes memory, it says; that is what is wanted.
            warnings.simplefilter("ignore")
            self.interpreter = interpreter.Interpreter(
                model_content=model,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=True,
                num_threads=1,
            )
        self.interpreter.allocate_tensors()

    def run(self, inputs: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        for detail, array in zip(self.interpreter.get_input_details(), inputs, strict=True):
            self.interpreter.set_tensor(detail["index"], array)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(d["index"]) for d in self.interpreter.get_output_details()]

    def tensor(self, index: int) -> npt.NDArray[Any]:
        value: npt.NDArray[Any] = self.interpreter.get_tensor(index)
        return value
