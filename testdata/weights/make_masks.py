"""Makes masks.pth and masks.safetensors: a small network with learned masks (two stages of 4 channels, 2 outputs per stored
filter, 10 classes) filled by fill.py's rule, masks as bytes 0 and 1, as the Full-Stack Filters release stores them.

    python make_masks.py PATH/TO/fill.py
"""

import importlib.util
import pathlib
import sys
from collections import OrderedDict

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("fill", sys.argv[1])
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)


def shapes():
    for conv, before in ((0, 3), (4, 4)):
        yield f"features.{conv}.basis_list", (2, before, 3, 3)
        yield f"features.{conv}.mask", (4, before, 3, 3)
        yield f"features.{conv}.bias", (4,)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            yield f"features.{conv + 1}.{leaf}", (4,)
        yield f"features.{conv + 1}.num_batches_tracked", ()
    yield "classifier.weight", (10, 4)
    yield "classifier.bias", (10,)


def tensor(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1234)
    values = torch.from_numpy(fill.parameter(name, shape))
    return (values > 0).to(torch.int8) if name.endswith(".mask") else values


state = OrderedDict((name, tensor(name, shape)) for name, shape in shapes())
wrapped = OrderedDict((f"module.{name}", value) for name, value in state.items())
torch.save({"state_dict": wrapped, "best_prec1": 93.1}, HERE / "masks.pth")
save_file(dict(state), HERE / "masks.safetensors")
