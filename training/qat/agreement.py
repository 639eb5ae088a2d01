"""How often the eval graph of training and the integer network differ, tensor by tensor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ...golden import affine
from ...golden.compare import LayerDifference
from ...golden.numerics import Profile
from ...golden.runtime import Session
from .modules import Simulation


def compare(
    simulation: Simulation, images: npt.ArrayLike, profile: Profile = Profile.TFLM
) -> tuple[LayerDifference, ...]:
    """Every tensor of the eval graph against the integer runtime, over some inputs.

    Parameters
    ----------
    simulation
        What `eval_graph` returned.
    images
        Real numbers, as torch lays them: `(n, channels, rows, columns)`.
    profile
        Whose arithmetic the integer runtime follows.

    Returns
    -------
    For each operator how many elements differ, with what earlier operators passed on, and by how many steps at most.
    """
    network = simulation.network
    session = Session(network, profile)
    elements, differing, largest = (np.zeros(len(network.operators), np.int64) for _ in range(3))
    for image in np.asarray(images, np.float32):
        values = simulation.tensors(torch.from_numpy(image[None]))
        channels_last = image[None].transpose(0, 2, 3, 1) if image.ndim == 3 else image[None]
        source = network.inputs[0]
        exact = session.run([affine.quantize(channels_last, affine.known(source), source.dtype)]).tensors
        for number, operator in enumerate(network.operators):
            index = operator.outputs[0]
            apart = np.abs(values[index].astype(np.int64) - exact[index])
            elements[number] += apart.size
            differing[number] += np.count_nonzero(apart)
            largest[number] = max(largest[number], apart.max())
    return tuple(
        LayerDifference(
            index=operator.index,
            op=operator.kind,
            name=network.tensors[operator.outputs[0]].name,
            tensor=operator.outputs[0],
            elements=int(elements[number]),
            mismatches=int(differing[number]),
            largest=float(largest[number]),
        )
        for number, operator in enumerate(network.operators)
    )
