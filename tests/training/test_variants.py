"""Training of the 16 variants: the same seed gives the same, interrupted or not."""

# ruff: noqa: E402  (torch is an extra)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from eightfold.golden.reader import read
from eightfold.training.digits import Digits, _torch_network
from eightfold.training.qat import compare, eval_graph, training_graph
from eightfold.training.qat import variants as training
from eightfold.training.qat.fitting import Regime, enlarged, fit, held_out_accuracy
from eightfold.training.table1 import Result, Variant

torch.set_num_threads(1)

SHRINK = 60


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CALIBRATION_IMAGES", 4)


def train(out: Path, lines: list[str] | None = None) -> dict[Variant, Result]:
    trainer = training.Trainer(out, shrink=SHRINK, say=(lines if lines is not None else []).append)
    digits = trainer.digits
    trainer.digits = replace(digits, test_pixels=digits.test_pixels[:16], test_labels=digits.test_labels[:16])
    trainer.load()
    trainer.train(0.25, (32, 64))
    # What a processor takes is not the same twice.
    return {k: replace(r, float_seconds=0.0, trained_seconds=0.0) for k, r in trainer.results.items()}


def test_an_interrupted_training_comes_to_the_same_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    whole = train(tmp_path / "whole", lines)
    assert set(whole) == {(0.25, 32), (0.25, 64)}
    assert len(lines) == 6
    assert lines[0].startswith("mobilenet_v1_0.25_32  float ")
    assert all(result.differing <= result.elements / 1000 for result in whole.values())

    stages = 0

    def interrupted(*arguments: object, **options: object) -> None:
        nonlocal stages
        stages += 1
        if stages == 4:  # training in 8 bits at the second resolution
            raise KeyboardInterrupt
        fit(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts")
    assert [p.name for p in (tmp_path / "parts").glob("*.tflite")] == ["mobilenet_v1_0.25_32.tflite"]
    assert train(tmp_path / "parts") == whole
    name = "mobilenet_v1_0.25_64.tflite"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert read(tmp_path / "whole" / name).operators[-1].kind == "SOFTMAX"
    with pytest.raises(ValueError, match="was made with the seed 0, not 1"):
        training.Trainer(tmp_path / "whole", seed=1).load()


def test_training_in_8_bits_keeps_the_accuracy() -> None:
    torch.manual_seed(0)
    digits = Digits.load(0)
    model = _torch_network()
    model.input_shape = (1, 8, 8)
    fit(model, digits, 8, Regime(images=12 * 1437, rate=3e-3, batch=32), seed=0)
    in_float = held_out_accuracy(model, digits, 8)
    assert in_float > 0.95
    trained = training_graph(model, momentum=0.1)
    fit(trained, digits, 8, Regime(images=3 * 1437, rate=5e-4, batch=32), seed=1)
    simulation = eval_graph(trained, softmax=True)
    assert held_out_accuracy(simulation, digits, 8) >= in_float - 0.01
    layers = compare(simulation, enlarged(digits.test_pixels[:50], 8).numpy())
    assert max(layer.largest for layer in layers) <= 1
