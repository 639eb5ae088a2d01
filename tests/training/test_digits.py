"""The digits network of `models/`: what the README says of it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eightfold.golden.graph import Graph
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.golden.writer import write
from eightfold.training import digits
from eightfold.training.evaluation import accuracy, quantized_inputs

from ..golden.oracle import LiteRT

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read(MODELS / "digits.tflite")


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    with np.load(MODELS / "digits.npz") as file:
        return dict(file)


def test_every_tensor_equals_litert_on_every_image(graph: Graph, data: dict[str, np.ndarray]) -> None:
    oracle = LiteRT((MODELS / "digits.tflite").read_bytes())
    outputs = [o for operator in graph.operators for o in operator.outputs]
    for image in data["images"]:
        oracle.run([image[None]])
        execution = run(graph, [image[None]])
        for index in outputs:
            np.testing.assert_array_equal(execution.tensors[index], oracle.tensor(index))


def test_the_accuracy_in_int8_is_the_one_stated(graph: Graph, data: dict[str, np.ndarray]) -> None:
    assert len(data["labels"]) == digits.TEST_IMAGES
    assert accuracy(graph, digits.samples(data["pixels"], data["labels"])) == 1.0


def test_the_images_are_the_pixels_quantized(graph: Graph, data: dict[str, np.ndarray]) -> None:
    assert data["pixels"].max() == 16
    (images,) = quantized_inputs(graph, [digits.real(data["pixels"])])
    np.testing.assert_array_equal(data["images"], images)


def test_the_macs_are_those_stated(graph: Graph) -> None:
    macs = 0
    for operator in graph.operators:
        if operator.kind in ("CONV_2D", "FULLY_CONNECTED"):
            pixels = graph.tensors[operator.outputs[0]].shape[:-1]
            macs += int(np.prod(pixels)) * int(np.prod(graph.tensors[operator.inputs[1]].shape))
    assert macs == 333_376
    assert f"{macs:,} MACs" in (MODELS / "README.md").read_text()


def test_the_file_is_what_the_writer_writes(graph: Graph) -> None:
    assert write(graph) == (MODELS / "digits.tflite").read_bytes()


def test_the_exported_graph_computes_what_the_trained_modules_compute() -> None:
    torch = pytest.importorskip("torch")
    from eightfold.training.qat import float_graph

    torch.manual_seed(0)
    model = digits._torch_network()
    for module in model:
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 2.0)
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values)
    model.eval()
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        expected = torch.softmax(model(x), dim=1).numpy()
    exported = float_graph(model, (1, 8, 8), softmax=True)
    for image, row in zip(x.permute(0, 2, 3, 1).numpy(), expected, strict=True):
        np.testing.assert_allclose(run(exported, [image[None]]).outputs[0][0], row, rtol=1e-4, atol=1e-5)


def test_training_is_deterministic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    for name in ("a", "b"):
        digits.main(["--epochs", "1", "--out", str(tmp_path / name)])
    assert "360 held out" in capsys.readouterr().out
    for name in ("digits_float.tflite", "digits.tflite", "digits_calibration.npz", "digits.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
