"""What the tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_models() -> Path:
    """The folder of published networks and their vectors; the test is skipped where there is none."""
    folder = Path(os.environ.get("EIGHTFOLD_MODELS") or Path(__file__).resolve().parents[2] / "shared" / "models")
    if not folder.is_dir():
        pytest.skip(f"the published networks are not in {folder} (set EIGHTFOLD_MODELS)")
    return folder
