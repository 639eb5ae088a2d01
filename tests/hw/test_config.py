"""Configurations from TOML files: what they may say, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from eightfold.hw.config import Config, ConfigError


def test_a_file_changes_parameters_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text('base = "8x8"\ncolumns = 16\nrounding = "single"\n')
    config = Config.from_toml(tmp_path / "wide.toml")
    assert (config.name, config.rows, config.columns, config.rounding.value) == ("wide", 8, 16, "single")
    (tmp_path / "again.toml").write_text("".join(f"{k} = {v!r}\n" for k, v in config.as_dict().items()))
    assert Config.from_toml(tmp_path / "again.toml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "3x3"', "no configuration is named '3x3'; there are 4x4"),
        ('base = ["4x4"]', "no configuration is named \\['4x4'\\]; there are 4x4"),
        ("rows = 0", "rows is 0; 4 to 64 was expected"),
        ('rows = "four"', "rows must be an integer, not 'four'"),
        ("rows = 4.0", "rows must be an integer, not 4.0"),
        ("rows = true", "rows must be an integer, not True"),
        ("lines = 4", "unknown parameter 'lines'; there are accumulator_bytes"),
        ('rounding = "up"', "rounding is 'up'; one of double"),
        ('rounding = ["double"]', "rounding is \\['double'\\]; one of double"),
        ("name = 7", "name must be a line of text, not 7"),
        ('name = ""', "name must be a line of text, not ''"),
        ('name = "a\\nb"', "name must be a line of text, not 'a\\\\nb'"),
        ("rows ==", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "machine.toml").write_text(text)
    with pytest.raises(ConfigError, match=f"machine.toml: {message}"):
        Config.from_toml(tmp_path / "machine.toml")
