"""Makes the cases of this folder: timm's and torchvision's networks on filled weights.

    python make_baselines.py PATH/TO/fill.py

needs torch, timm (1.0.31) and safetensors. Weights and inputs follow fill.py's rule from their names alone;
outputs are computed in float32 and stored as strided slices, with the relative difference to a float64 run.
"""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("fill", sys.argv[1])
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)

# name in the registry, network, places to tap, batch and side
CASES = [
    ("resnet18", lambda: timm.create_model("resnet18"), ["act1", "maxpool", "layer1", "layer2", "layer3", "layer4"], (2, 96)),
    ("resnet50", lambda: timm.create_model("resnet50"), ["maxpool", "layer1", "layer2", "layer3", "layer4"], (1, 96)),
    ("resnext50_32x4d", lambda: timm.create_model("resnext50_32x4d"), ["layer1", "layer4"], (1, 65)),
    ("seresnet18", lambda: timm.create_model("seresnet18"), ["layer1", "layer2", "layer4"], (1, 64)),
    ("legacy_seresnet18", lambda: timm.create_model("legacy_seresnet18"), ["layer0", "pool0", "layer1", "layer2", "layer4"], (1, 75)),
    ("legacy_seresnext26_32x4d", lambda: timm.create_model("legacy_seresnext26_32x4d"), ["layer1", "layer4"], (1, 64)),
    ("mobilenetv2_100", lambda: timm.create_model("mobilenetv2_100"), ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"], (2, 97)),
    ("mobilenetv2_035", lambda: timm.create_model("mobilenetv2_035"), ["blocks.2", "blocks.6"], (1, 64)),
    ("mobilenetv2_140", lambda: timm.create_model("mobilenetv2_140"), ["blocks.2", "blocks.6"], (1, 64)),
    ("mobilenetv2_120d", lambda: timm.create_model("mobilenetv2_120d"), ["blocks.2", "blocks.6"], (1, 64)),
    ("ghostnet_130", lambda: timm.create_model("ghostnet_130"), ["blocks.1", "blocks.3", "blocks.5", "blocks.7"], (1, 64)),
    ("vgg16_bn", lambda: torchvision.models.vgg16_bn(), ["features.2", "features.23", "features.43"], (1, 64)),
]


def run(model, taps, x):
    seen = {}
    # In-place activations follow: what was seen must be copied.
    hooks = [
        dict(model.named_modules())[tap].register_forward_hook(lambda _m, _i, o, tap=tap: seen.__setitem__(tap, o.detach().clone()))
        for tap in taps
    ]
    with torch.no_grad():
        output = model(x)
    for hook in hooks:
        hook.remove()
    return {**seen, "output": output}


def macs(model, x):
    total = 0

    def count(module, _inputs, output):
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        model(x[:1])
    for hook in hooks:
        hook.remove()
    return total


def main():
    for name, make, taps, (batch, side) in CASES:
        model = make().eval()
        params = fill.fill_module(model)
        shape = (batch, 3, side, side)
        x = fill.input_tensor("input", shape)
        single = run(model, taps, x)
        count = macs(model, x)
        keys = [
            f"{k} {'x'.join(map(str, v.shape)) or 'scalar'} {str(v.dtype).removeprefix('torch.')}"
            for k, v in model.state_dict().items()
        ]
        double = run(model.double(), taps, x.double())
        stored, outputs = {}, []
        for tap, value in single.items():
            value = value.numpy()
            difference = float(np.abs(value - double[tap].numpy()).max() / np.abs(double[tap].numpy()).max())
            stride = [1] * value.ndim
            if value.ndim == 4:
                # At most about 1,500 values per map.
                while np.prod([-(-n // s) for n, s in zip(value.shape, stride)]) > 1500:
                    sizes = [-(-n // s) for n, s in zip(value.shape[1:], stride[1:])]
                    stride[1 + int(np.argmax(sizes))] += 1
            kept = np.ascontiguousarray(value[tuple(slice(None, None, s) for s in stride)])
            stored[tap] = kept
            entry = {"name": tap, "shape": list(value.shape), "dtype": "float32", "f32_vs_f64_rel": float(f"{difference:.3g}")}
            if any(s > 1 for s in stride):
                entry["slice"] = {"stride": stride, "stored_shape": list(kept.shape)}
            if difference > 2e-6:
                # Other kernels round otherwise: thirty times what the reference itself loses.
                entry["rel_tolerance"] = max(1e-4, float(f"{30 * difference:.1g}"))
            outputs.append(entry)
        save_file(stored, HERE / f"{name}.safetensors")
        (HERE / f"{name}.keys.txt").write_text("\n".join(keys) + "\n")
        case = {
            "system": "baselines", "case": name, "builder": "baselines.zoo", "task": "forward", "variant": name,
            "mode": "eval", "config": {"name": name},
            "source": f"timm {timm.__version__}" if "torchvision" not in type(model).__module__ else f"torchvision {torchvision.__version__}",
            "params": params, "macs": count, "state_dict": f"{name}.keys.txt",
            "inputs": [{"name": "input", "shape": list(shape), "kind": "fill"}], "outputs": outputs,
            "tolerance": {"rel": 1e-4, "how": "max|a-b| / max|b| per output tensor, over the stored elements"}, "notes": "",
        }
        (HERE / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n")
        print(name, params, count, [(o["name"], o["f32_vs_f64_rel"], o.get("rel_tolerance")) for o in outputs])


main()
