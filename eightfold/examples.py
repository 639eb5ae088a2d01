"""Examples for the help of each command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": (
            "eightfold run model.tflite",
            "eightfold run model.tflite --input image.npy --backend fast --json -",
            "eightfold run model.tflite --config 8x8 --waves waves.vcd",
        ),
        "inspect": ("eightfold inspect model.tflite", "eightfold inspect model.tflite --json -"),
        "compare": (
            "eightfold compare model.tflite --profiles tflm,xnnpack",
            "eightfold compare model.tflite --oracle litert",
        ),
        "profile": (
            "eightfold profile model.tflite --latency 64",
            "eightfold profile model.tflite --trace trace.json",
        ),
        "report": (
            "eightfold report model.tflite --out build/report",
            "eightfold report model.tflite --out build/report --config 32x32 --energy 7nm --clock 800",
            "eightfold report model.tflite --out build/report --backend fast --input image.npy",
        ),
        "explore": (
            "eightfold explore model.tflite --rows 8,16 --columns 8,16,32 --bus 4,8",
            "eightfold explore first.tflite second.tflite --sweep sweep.toml --sample 200 --jobs 4",
            "eightfold explore model.tflite --rows 4,8 --columns 4 --confirm fastest",
        ),
        "compile": (
            "eightfold compile model.tflite --out model.efp",
            "eightfold compile model.tflite --listing -",
        ),
        "export": (
            "eightfold export --config 8x8 --out build/8x8",
            "eightfold export model.tflite --out build/machine",
        ),
        "synth": ("eightfold synth", "eightfold synth --config 4x4 --target ecp5 --part array --json -"),
        "quantize": (
            "eightfold quantize float.tflite --calibration samples.npz -o int8.tflite",
            "eightfold quantize float.tflite --calibration samples.npz --test labelled.npz -o int8.tflite --json -",
        ),
        "dequantize": ("eightfold dequantize int8.tflite -o float.tflite",),
        "schemes": (
            "eightfold schemes float.tflite --calibration samples.npz --test labelled.npz",
            "eightfold schemes float.tflite --calibration samples.npz --test labelled.npz --trained qat.tflite",
        ),
        "demo": ("eightfold demo", "eightfold demo --config 8x8 --images 2"),
        "doctor": ("eightfold doctor", "eightfold doctor --json -"),
    }
)
"""By command; each runs as it stands where the files are there."""
