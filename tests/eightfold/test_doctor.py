"""What `doctor` finds, where things are missing and where they are not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from eightfold import doctor
from eightfold.cli import main
from eightfold.doctor import Finding, examine, findings_json, findings_report, healthy

from ..reports.test_reports import text


def found(name: str) -> Finding:
    (finding,) = [finding for finding in examine() if finding.name == name]
    return finding


def test_what_the_tests_need_is_there() -> None:
    assert found("numpy").state == "good"
    assert found("python").state == "good"
    assert {finding.group for finding in examine()} == {"python", "packages", "tools", "caches"}


def test_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert found("cache").found.endswith("eightfold, empty")
    assert os.listdir(tmp_path) == []


def test_caches_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, size in (("a", 1_500_000), ("b", 500_000)):
        entry = tmp_path / "eightfold" / "verilog" / name
        entry.mkdir(parents=True)
        (entry / "file").write_bytes(bytes(size))
    assert found("verilog").found.startswith("2 entries, 2.0 MB in")


def test_a_cache_that_cannot_be_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    finding = found("cache")
    assert (finding.state, finding.advice) == (
        "missing",
        f"{tmp_path / 'file'} cannot be written: set XDG_CACHE_HOME",
    )


def test_a_simulator_that_is_not_there_is_missing_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("find_libpython.find_libpython", lambda: "libpython")
    assert (found("iverilog").state, found("C++ compiler").state) == ("missing", "absent")
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "missing: iverilog, vvp" in shown
    assert "apt-get install iverilog" in shown
    assert main(["doctor", "--json", "-"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert (value["format"], value["healthy"]) == ("eightfold-doctor/1", False)


def test_a_tool_that_fails_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "iverilog"
    tool.write_text("no program")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found("iverilog").state == "missing"


def test_packages_of_the_wrong_version_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=99",
        "nothing-of-this-name",
        "rich>=1",
        "torch-of-no-name; extra == 'train'",
        "x; extra == 'test'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda name: wanted)
    packages = {finding.name: finding for finding in examine() if finding.group == "packages"}
    assert {name: finding.state for name, finding in packages.items()} == {
        "numpy": "missing",
        "nothing-of-this-name": "missing",
        "rich": "good",
        "torch-of-no-name": "absent",
    }
    assert ">=99 was expected" in packages["numpy"].advice
    assert "pip install 'eightfold[train]'" in packages["torch-of-no-name"].advice


def test_absent_things_are_no_illness() -> None:
    findings = [Finding("tools", "a", "good", "1"), Finding("tools", "b", "absent", "", "for c")]
    assert healthy(findings)
    assert not healthy([*findings, Finding("tools", "d", "missing", "")])
    assert findings_json(findings)["healthy"]
    assert "for c" in text(findings_report(findings))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_a_tool_tells_its_version() -> None:
    assert "Icarus" in found("iverilog").found
