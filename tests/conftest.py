"""What the tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_NETWORKS = (
    "ad01_int8",
    "kws_ref_model",
    "micro_speech_quantized",
    "mobilenet_v1_0.25_128_uint8",
    "mobilenet_v1_1.0_224_uint8",
    "mobilenet_v2_0.35_160_int8",
    "person_detection_yolo",
    "pretrainedResnet_quant",
    "vad_streaming",
    "vww96_q",
    "vww_96_int8",
)
"""Published networks whose inputs and outputs lie beside them."""


def shared_models() -> Path:
    """The folder of published networks and their vectors; the test is skipped where there is none."""
    folder = Path(os.environ.get("EIGHTFOLD_MODELS") or Path(__file__).resolve().parents[2] / "shared" / "models")
    if not folder.is_dir():
        pytest.skip(f"the published networks are not in {folder} (set EIGHTFOLD_MODELS)")
    return folder
