"""Makes the PyTorch files of this folder: a small CIFAR ResNet (3 blocks per stage, 4/8/16 channels, 10 classes)
filled by fill.py's rule, as PyTorch users save it.

    python make_weights.py PATH/TO/fill.py
"""

import importlib.util
import pathlib
import sys
from collections import OrderedDict

import torch

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("fill", sys.argv[1])
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)


def shapes():
    def norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{leaf}", (channels,)
        yield f"{name}.num_batches_tracked", ()

    widths = [4, 8, 16]
    yield "conv1.weight", (4, 3, 3, 3)
    yield from norm("bn1", 4)
    before = 4
    for stage, width in enumerate(widths, 1):
        for block in range(3):
            yield f"layer{stage}.{block}.conv1.weight", (width, before, 3, 3)
            yield from norm(f"layer{stage}.{block}.bn1", width)
            yield f"layer{stage}.{block}.conv2.weight", (width, width, 3, 3)
            yield from norm(f"layer{stage}.{block}.bn2", width)
            before = width
    yield "fc.weight", (10, 16)
    yield "fc.bias", (10,)


def tensor(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1234)
    return torch.from_numpy(fill.parameter(name, shape))


state = OrderedDict((name, tensor(name, shape)) for name, shape in shapes())
torch.save(state, HERE / "bare.pth")
torch.save(state, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(
    {
        "epoch": 12,
        "arch": "resnet20",
        "state_dict": OrderedDict((f"module.{name}", value) for name, value in state.items()),
        "best_acc1": torch.tensor(61.5),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    },
    HERE / "checkpoint.pth",
)
