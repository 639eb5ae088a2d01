"""A network's inputs, from files or from a seed."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from .golden.graph import Graph
from .golden.runtime import check_input

Array = npt.NDArray[Any]


class InputError(ValueError):
    """An input that cannot be read or understood. The message names it."""


def read_input(graph: Graph, position: int, path: str) -> Array:
    """An input from an .npy file.

    Raises
    ------
    InputError
        The file cannot be read.
    ModelError
        It has another type or shape than the network states.
    """
    try:
        value = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not an .npy file: {error}") from None
    if not isinstance(value, np.ndarray):
        raise InputError(f"{path}: an .npz file; an .npy file with one array was expected")
    return check_input(graph, position, value)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays in an .npz file, by name.

    Raises
    ------
    InputError
        The file cannot be read, or holds something else.
    """
    try:
        with open(path, "rb") as opened:  # numpy would leave a damaged one open
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.ndarray):
                with file:
                    return {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error):
        # What numpy says is no help: it takes whatever it does not know for a pickle.
        raise InputError(f"{path}: not an .npz file of arrays") from None
    raise InputError(f"{path}: an .npy file with one array; an .npz file of named arrays was expected")


def random_input(graph: Graph, position: int, source: str) -> Array:
    """An input from `random:SEED`: uniform over the type's range; floats over -1 to 1.

    Raises
    ------
    InputError
        The seed is no number, or the input has no fixed shape or a type that has no numbers.
    """
    seed = source.removeprefix("random:")
    if not seed.isdecimal():
        raise InputError(f"--input is {source!r}; random: and a number was expected")
    tensor = graph.inputs[position]
    generator = np.random.default_rng([int(seed), position])
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(tensor.dtype)
        return generator.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)
    if tensor.dtype.kind == "f":
        return generator.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    if tensor.dtype.kind == "b":
        return generator.integers(0, 2, tensor.shape).astype(tensor.dtype)
    raise InputError(
        f"input {position} ({tensor.name}) has the type {tensor.dtype}, for which there are no random values"
    )
