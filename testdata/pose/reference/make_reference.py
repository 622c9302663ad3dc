"""Makes the small checkpoints of this folder: grid lifting networks as their authors' training loop saves them, the optimiser as an object
among the entries, in PyTorch's zip form and in the pickle stream from before version 1.6.

    python make_reference.py

Values are whole numbers over powers of two, so that any program can make them anew: element i of a tensor whose name has bytes of sum s is
((37 i + s) mod 101 - 50) / 256, of gains and running variances 3/4 + ((37 i + s) mod 101) / 256.
"""

import copyreg
import pathlib
from collections import OrderedDict

import torch

HERE = pathlib.Path(__file__).parent
HIDDEN = 4


def tensor(name, *shape):
    count = 1
    for extent in shape:
        count *= extent
    draw = (37 * torch.arange(count) + sum(name.encode())) % 101
    gain = name.endswith("running_var") or ("norm" in name or ".bn." in name) and name.endswith(".weight")
    values = 0.75 + draw / 256 if gain else (draw - 50) / 256
    return values.float().reshape(shape)


def state(dynamic, learnt):
    entries = OrderedDict()

    def put(name, *shape):
        entries[name] = tensor(name, *shape)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            put(f"{name}.{part}", channels)
        entries[f"{name}.num_batches_tracked"] = torch.tensor(5)

    def conv(name, channels_in, channels_out, bias=True):
        for part in ("branch1_{}", "branch2_{}") if dynamic else ("donut_conv.{}", "tablet_conv.{}"):
            put(f"{name}.{part.format('weight')}", channels_out, channels_in, 3, 3)
            if bias:
                put(f"{name}.{part.format('bias')}", channels_out)

    def attention(name, channels):
        if dynamic:
            put(f"{name}.fc.weight", 16, channels, 1, 1)
            norm(f"{name}.bn", 16)
            put(f"{name}.position_fc.weight", 225, 16, 1, 1)
            put(f"{name}.position_fc.bias", 225)

    conv("w1", 2, HIDDEN)
    norm("batch_norm1", HIDDEN)
    attention("atten_conv1", 2)
    for part in ("1", "2"):
        conv(f"linear_stages.0.w{part}", HIDDEN, HIDDEN)
        norm(f"linear_stages.0.batch_norm{part}", HIDDEN)
        attention(f"linear_stages.0.atten_conv{part}", HIDDEN)
    conv("w2", HIDDEN, 3, bias=False)
    attention("atten_conv2", HIDDEN)
    if learnt:
        put("sgt_layer.sgt_trans_mat", 1, 25, 17)
    return entries


def save(name, dynamic, learnt, zipped):
    entries = state(dynamic, learnt)
    trained = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([trained], lr=1e-3)
    trained.sum().backward()
    optimizer.step()
    content = {"epoch": 3, "lr": 1e-3, "error": 37.5, "state_dict": entries, "optimizer": optimizer}
    if not zipped:
        # Python 2, which the authors used, gives the entries to the constructor.
        copyreg.pickle(OrderedDict, lambda own: (OrderedDict, ([[k, v] for k, v in own.items()],)))
    torch.save(content, HERE / f"{name}.pth.tar", _use_new_zipfile_serialization=zipped)
    copyreg.dispatch_table.pop(OrderedDict, None)


save("dgridconv_zip", True, False, True)
save("dgridconv_legacy", True, False, False)
save("autogrids_zip", True, True, True)
save("gridconv_legacy", False, False, False)
