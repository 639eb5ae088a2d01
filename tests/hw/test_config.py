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


def test_lanes_follow_the_columns_unless_they_are_said(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text('base = "8x8"\ncolumns = 16\n')
    (tmp_path / "few.toml").write_text('base = "8x8"\nlanes = 2\n')
    wide, few = Config.from_toml(tmp_path / "wide.toml"), Config.from_toml(tmp_path / "few.toml")
    assert (wide.lane_count, wide.turns, wide.queue_bytes) == (16, 1, 0)
    # 512 pixels of four turns, each two totals of 32 bits and two sums of 19, and whether these come back.
    assert (few.lane_count, few.turns, few.queue_bytes) == (2, 4, 512 * 4 * (2 * 32 + 2 * 19 + 1) // 8)
    assert few.sram_bytes == Config.named("8x8").sram_bytes + few.queue_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "3x3"', "no configuration is named '3x3'; there are 4x4"),
        ('base = ["4x4"]', "no configuration is named \\['4x4'\\]; there are 4x4"),
        ("rows = 0", "rows is 0; 4 to 64 was expected"),
        ('rows = "four"', "rows must be an integer, not 'four'"),
        ("rows = 4.0", "rows must be an integer, not 4.0"),
        ("lanes = 3", "lanes is 3; 0 was expected, or a divisor of 16 columns, a lane for at most 16 of them"),
        ("lanes = -2", "lanes is -2; 0 was expected"),
        ("rows = 4\nlanes = 2", "lanes is 2; 0 was expected, or a divisor of 16 columns, a lane for at most 4 of them"),
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
