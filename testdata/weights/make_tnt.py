"""Makes `tnt_micro.pth.tar`: the network of the golden case `tnt_micro_se` filled by fill.py's rule, as the authors save
their weights (`state_dict_ema` of a data-parallel run, with the entry nothing reads).

    python make_tnt.py PATH/TO/fill.py
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

state = OrderedDict()
for line in (HERE / "../goldens/tnt/tnt_micro_se.keys.txt").read_text().splitlines():
    name, shape = line.split()[:2]
    dims = tuple(int(extent) for extent in shape.split("x"))
    state[f"module.{name}"] = torch.from_numpy(fill.parameter(name, dims))
torch.save({"epoch": 300, "state_dict_ema": state}, HERE / "tnt_micro.pth.tar")
