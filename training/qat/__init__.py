"""Training with quantization in the loop: torch modules in, int8 graphs out. Needs the extra `train`.

from eightfold.training.qat import convert, eval_graph, training_graph

model = ...                                            # an ordinary torch.nn.Module, trained or not
trained = training_graph(model, (1, 32, 32))           # the same, rounding where the integer network will round
...                                                    # train it as any other module
simulation = eval_graph(trained)                       # the integer network, simulated in float
save(convert(simulation), "network.tflite")            # the integer network
"""

from .agreement import compare
from .conversion import convert, eval_graph, float_graph
from .graphs import TrainingGraph, freeze_batch_norm, training_graph
from .modules import Network, Simulation

__all__ = [
    "Network",
    "Simulation",
    "TrainingGraph",
    "compare",
    "convert",
    "eval_graph",
    "float_graph",
    "freeze_batch_norm",
    "training_graph",
]
