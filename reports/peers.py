"""What others need for the same networks: published or measured figures, each with its conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Peer:
    """How a figure came about.

    Parameters
    ----------
    name
        What reports call it.
    conditions
        Under which its figures hold.
    """

    name: str
    conditions: str


VELA = Peer(
    "Arm Ethos-U55-256 by Vela",
    "the performance estimate of Vela 5.2 for 256 multipliers and 8 bytes of DRAM per cycle; an estimate, not a run",
)
VELA_BEST = Peer(
    "Arm Ethos by Vela, the best of three",
    "the least of Vela 5.2's estimates for the U55, U65 and U85 with 256 multipliers",
)
SCALE_SIM = Peer(
    "SCALE-Sim 16x16",
    "the simulator's cycles for an output-stationary array of 16 x 16, which computes no values",
)
SCALE_SIM_WITHOUT_DRAM = Peer(
    "SCALE-Sim 16x16, without DRAM",
    "as SCALE-Sim 16x16, but the time to load weights from DRAM is left out",
)


@dataclass(frozen=True)
class Network:
    """A network that was measured elsewhere.

    Parameters
    ----------
    files
        Names of the files that hold it.
    steps
        Its products over 256, rounded up: tells whether a file of that name is the same network.
    cycles
        By peer, of one inference.
    """

    files: tuple[str, ...]
    steps: int
    cycles: Mapping[Peer, int]


def _network(files: tuple[str, ...], steps: int, vela: int, best: int, scale_sim: int, *, dram: bool = True) -> Network:
    peer = SCALE_SIM if dram else SCALE_SIM_WITHOUT_DRAM
    return Network(files, steps, MappingProxyType({VELA: vela, VELA_BEST: best, peer: scale_sim}))


NETWORKS = (
    _network(("kws_ref_model",), 10_378, 53_400, 46_118, 33_748),
    _network(("vww_96_int8",), 29_257, 120_954, 120_954, 119_430),
    _network(("pretrainedResnet_quant",), 48_835, 101_428, 98_315, 58_996),
    _network(("ad01_int8",), 1_032, 40_905, 40_905, 19_716, dram=False),
    _network(("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.25_128_uint8"), 53_009, 250_964, 250_964, 203_474),
    _network(("mobilenet_v1_1.0_224_quant", "mobilenet_v1_1.0_224_uint8"), 2_221_646, 3_414_512, 3_414_512, 3_907_718),
    _network(("mobilenet_v2_1.0_224_quant", "mobilenet_v2_1.0_224_uint8"), 1_174_905, 3_118_105, 3_118_105, 3_229_777),
)

MULTIPLIERS = 256
"""Of all machines whose figures are here."""


def peers_of(model: str, macs: int) -> Mapping[Peer, int]:
    """Cycles of a network elsewhere; empty where it was not measured.

    Parameters
    ----------
    model
        The file's name without its ending.
    macs
        Products of the whole network, which must be those of the one that was measured.
    """
    for network in NETWORKS:
        if model in network.files and -(-macs // MULTIPLIERS) == network.steps:
            return network.cycles
    return MappingProxyType({})
