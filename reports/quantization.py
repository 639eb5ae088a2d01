"""What quantization did to a network, as a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ..training.post_training import Measurement
from ..training.schemes import SchemeComparison, Way
from .table import NOT_MEASURED, new_table, percent


def quantization_report(measurement: Measurement) -> RenderableType:
    """A line per layer, then accuracy and size, as rich shows them."""
    plain = measurement.plain_layers
    table = new_table(
        f"{measurement.model}: {measurement.settings}",
        ("#", ">"),
        ("operator", "<"),
        ("range", ">"),
        ("scale", ">"),
        ("zero point", ">"),
        ("saturated", ">"),
        ("weights dB", ">"),
        ("rounded dB", ">"),
        *([("plain dB", ">")] if plain else []),
        ("network dB", ">"),
    )
    for position, layer in enumerate(measurement.layers):
        table.add_row(
            str(layer.index),
            layer.op,
            f"{layer.low:.4g} to {layer.high:.4g}",
            f"{layer.scale:.4g}",
            str(layer.zero_point),
            percent(layer.saturated),
            _decibels(layer.weight_sqnr),
            _decibels(layer.rounding_sqnr),
            *([_decibels(plain[position].sqnr)] if plain else []),
            _decibels(layer.sqnr),
        )
    return Group(table, _summary(measurement))


def _summary(measurement: Measurement) -> Text:
    text = Text(
        "dB: signal to quantization noise, of the weights, of the float value rounded, "
        "and of the network's own value with all errors so far\n"
    )
    if measurement.settings.equalize:
        pairs = len(measurement.equalized)
        text.append(f"{pairs} pair{'' if pairs == 1 else 's'} of layers equalized")
        if measurement.held:
            text.append(f"; {len(measurement.held)} left alone, as their activation acts on the data")
        text.append("\n")
    same = measurement.calibration_samples, measurement.measured_samples
    text.append(f"calibrated on {same[0]:,} samples, measured on {same[1]:,}\n")
    if (accuracy := measurement.accuracy) is not None:
        text.append(f"accuracy: {accuracy.float32:.2%} in float, {accuracy.quantized:.2%} in integers", style="bold")
        if accuracy.plain is not None:
            text.append(f", {accuracy.plain:.2%} without corrections")
        text.append("; ")
    text.append(f"both choose the same class for {measurement.agreement:.2%}\n")
    text.append(
        f"{measurement.float_bytes:,} bytes become {measurement.quantized_bytes:,}, "
        f"{measurement.quantized_bytes / measurement.float_bytes:.1%}"
    )
    return text


def _share(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2%}"


def _decibels(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1f}"


def schemes_report(comparison: SchemeComparison) -> RenderableType:
    """A line per way of quantization, as rich shows them."""
    table = new_table(
        f"{comparison.model}: {comparison.test_samples:,} samples, calibrated on {comparison.calibration_samples:,}",
        ("network", "<"),
        ("weights per", "<"),
        ("activations", "<"),
        ("ranges", "<"),
        ("corrections", "<"),
        ("profile", "<"),
        ("accuracy" if comparison.ways[0].accuracy is not None else "as float", ">"),
        ("logits dB", ">"),
        ("bytes", ">"),
        ("of float", ">"),
    )
    table.columns[0].no_wrap, table.columns[0].overflow, table.columns[0].max_width = False, "fold", 20
    whole = comparison.ways[0].bytes
    for way in comparison.ways:
        table.add_row(
            way.name,
            *_choices(way),
            way.profile or NOT_MEASURED,
            _share(way.agreement if way.accuracy is None else way.accuracy),
            _decibels(way.sqnr),
            f"{way.bytes:,}",
            percent(way.bytes / whole),
        )
    return table


_CORRECTIONS = {
    (False, False): NOT_MEASURED,
    (True, False): "equalized",
    (False, True): "biases",
    (True, True): "both",
}


def _choices(way: Way) -> tuple[str, str, str, str]:
    """Weights, activations, ranges and corrections in a word each."""
    scheme, settings = way.scheme, way.settings
    if scheme is None:
        return (NOT_MEASURED,) * 4
    return (
        "channel" if scheme.per_channel else "tensor",
        "symmetric" if scheme.symmetric else "asymmetric",
        settings.ranges if settings else "trained",
        _CORRECTIONS[settings.equalize, settings.bias_correction] if settings else NOT_MEASURED,
    )
