"""The packages that are installed are the folders that are there; rooms import one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]

# What each room may import of the others. `eightfold`, the front door, ties them all.
MAY_IMPORT = {
    "golden": set[str](),
    "hw": {"golden"},
    "compiler": {"golden", "hw"},
    "sim": {"golden", "hw", "compiler"},
    "training": {"golden"},
    "reports": {"golden", "hw", "compiler", "sim", "training"},
}
# The hardware knows arithmetic, and nothing of networks.
HW_MAY_IMPORT = "golden.numerics"


def room_folders() -> list[str]:
    """The folders at the top that hold Python code or data of the package."""
    return sorted(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and (ROOT / "eightfold" / path.name).is_symlink() and path.name != "eightfold"
    )


def modules(room: str) -> Iterator[Path]:
    folder = ROOT / room
    yield from sorted(
        p for p in folder.rglob("*.py") if not any(part.is_symlink() for part in p.relative_to(ROOT).parents)
    )


def subfolders(room: str) -> list[str]:
    """A room and its folders that hold code or what code reads, as dotted names below `eightfold`."""
    files = (path for path in (ROOT / room).glob("*/*") if path.is_file())
    folders = {path.parent for path in (*modules(room), *files)}
    return sorted({".".join(path.relative_to(ROOT).parts) for path in folders if path.name != "__pycache__"} | {room})


def test_the_list_of_packages_is_the_tree() -> None:
    expected = {"eightfold"} | {f"eightfold.{name}" for room in room_folders() for name in subfolders(room)}
    assert set(SETUPTOOLS["packages"]) == expected
    places = {name: place for name, place in SETUPTOOLS["package-dir"].items() if name != "eightfold"}
    assert places == {f"eightfold.{room}": room for room in room_folders()}


def test_every_room_has_a_relative_link_that_is_committed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-s", "eightfold"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    links = {line.split("\t")[1] for line in tracked if line.startswith("120000")}
    assert links == {f"eightfold/{room}" for room in room_folders()}
    for room in room_folders():
        assert os.readlink(ROOT / "eightfold" / room) == f"../{room}"
    for room in MAY_IMPORT:
        assert room in room_folders()


def imported_rooms(path: Path, room: str) -> Iterator[tuple[str, int]]:
    """The modules below `eightfold` that a file imports, whatever the way, as `room.module`."""
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 0 and module.split(".")[0] == "eightfold":
                yield module.removeprefix("eightfold").lstrip("."), node.lineno
            elif node.level == depth and module:
                yield module, node.lineno
            elif node.level == depth:
                yield from ((alias.name, node.lineno) for alias in node.names)
            else:
                assert node.level < depth, f"{path}:{node.lineno} leaves the package"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "eightfold":
                    yield alias.name.removeprefix("eightfold").lstrip("."), node.lineno


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_one_way(room: str) -> None:
    files = list(modules(room))
    assert files
    for path in files:
        for module, number in imported_rooms(path, room):
            other = module.split(".")[0]
            assert other == room or other in MAY_IMPORT[room], f"{path.relative_to(ROOT)}:{number} imports {module}"
            if room == "hw" and other == "golden":
                assert module == HW_MAY_IMPORT, f"{path.relative_to(ROOT)}:{number} imports {module}"


def test_the_rule_sees_imports_of_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "hw").mkdir()
    path = tmp_path / "hw" / "x.py"
    path.write_text(
        "from ..sim.run import run\nfrom .. import golden\nimport eightfold.compiler\n"
        "from eightfold.reports import table\nfrom .config import Config\nimport numpy\n"
    )
    assert [module for module, _ in imported_rooms(path, "hw")] == ["sim.run", "golden", "compiler", "reports"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a source distribution as pip would, unpacked."""
    target = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", target, ROOT], capture_output=True, text=True, check=False
    )
    if done.returncode and "ConnectionError" in done.stdout + done.stderr:
        pytest.skip("the build needs packages from the index")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = target.glob("*.whl")
    with ZipFile(file) as archive:
        archive.extractall(target / "unpacked")
    return target / "unpacked"


def test_the_wheel_holds_every_module_and_every_file_that_modules_read(wheel: Path) -> None:
    held = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    for room in room_folders():
        for path in (ROOT / room).rglob("*"):
            if path.suffix in (".py", ".v", ".tflite", ".npz") and "__pycache__" not in path.parts:
                assert f"eightfold/{path.relative_to(ROOT)}" in held
    assert "eightfold/py.typed" in held
    assert not [name for name in held if name.split("/")[0] not in ("eightfold",) and ".dist-info" not in name]


def test_every_module_of_the_wheel_imports(wheel: Path) -> None:
    names = sorted(
        ".".join(path.relative_to(wheel).with_suffix("").parts).removesuffix(".__init__")
        for path in (wheel / "eightfold").rglob("*.py")
    )
    assert len(names) > 50
    script = f"""
import importlib, sys
import eightfold
assert eightfold.__file__.startswith({str(wheel)!r}), eightfold.__file__
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Training is an extra.
        if error.name.split(".")[0] not in ("torch", "sklearn") or not name.startswith("eightfold.training"):
            raise
for name in eightfold.__all__:
    getattr(eightfold, name)
"""
    # -P: not the current folder; the wheel comes before the installed package.
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, cwd=wheel, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
