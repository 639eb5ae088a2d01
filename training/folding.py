"""Folds batch normalization into the convolution before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fold_batch_norm(
    weights: Floats,
    bias: Floats | None,
    *,
    gamma: Floats,
    beta: Floats,
    mean: Floats,
    variance: Floats,
    epsilon: float,
) -> tuple[Floats, Floats]:
    """Weights and bias of one convolution that computes a convolution and its batch normalization.

    With trained statistics, batch normalization is `gamma * (x - mean) / sqrt(variance + epsilon) + beta`: a scale and
    an offset per channel, which pass through the linear convolution (Jacob et al. 2018, equation 14).

    Parameters
    ----------
    weights
        Output channels first: `(n, ...)`.
    bias
        `(n,)`, or None where the convolution has none.
    gamma, beta, mean, variance
        `(n,)` each.

    Returns
    -------
    weights, bias
        float32, of the same shapes.
    """
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    folded = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
    offset = beta + ((0.0 if bias is None else bias) - mean.astype(np.float64)) * factor
    return folded.astype(np.float32), offset.astype(np.float32)
