"""Writes testdata/onnx/ops.json: what PyTorch computes for every operator of `ocelli_graph::Op`.

    python testdata/python/op_goldens.py > testdata/onnx/ops.json

The cases' graphs are in crates/ocelli-graph/tests/ops/; inputs follow the rule `fill` for both.
"""

import json

import numpy as np
import torch
import torch.nn.functional as F

N = 2


def fill(seed, *shape):
    count = int(np.prod(shape))
    values = (np.arange(count) * 7919 + (seed + 1) * 3571) % 1009 / 252.25 - 2
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def positive(seed, *shape):
    return fill(seed, *shape) + 2.5


def truth(seed, *shape):
    return fill(seed, *shape) > 0


def index(seed, limit, *shape):
    count = int(np.prod(shape))
    return torch.from_numpy(((np.arange(count) * 7919 + (seed + 1) * 3571) % 1009 % limit).reshape(shape))


x = fill(0, N, 7)
p = positive(0, N, 7)
m = fill(0, N, 2, 5, 4)
cases = {
    "relu": F.relu(x),
    "clamp": x.clamp(-0.5, 1.0),
    "clamp_below": x.clamp(min=-0.5),
    "leaky_relu": F.leaky_relu(x, 0.1),
    "gelu": F.gelu(x),
    "sigmoid": x.sigmoid(),
    "hard_sigmoid": F.hardsigmoid(x * 2),
    "hard_swish": F.hardswish(x * 2),
    "silu": F.silu(x),
    "tanh": x.tanh(),
    "erf": x.erf(),
    "exp": x.exp(),
    "log": p.log(),
    "sqrt": p.sqrt(),
    "reciprocal": p.reciprocal(),
    "neg": -x,
    "abs": x.abs(),
    "sign": x.sign(),
    "floor": x.floor(),
    "ceil": x.ceil(),
    "round": x.round(),
    "sin": x.sin(),
    "cos": x.cos(),
    "not": ~truth(0, N, 7),
}
a, b = fill(0, N, 7), fill(1, 7)
cases |= {
    "add": a + b,
    "sub": a - b,
    "mul": a * b,
    "div": a / positive(1, 7),
    "pow": positive(0, N, 7) ** b,
    "min": torch.minimum(a, b),
    "max": torch.maximum(a, b),
    "equal": index(0, 3, N, 7) == index(1, 3, 7),
    "less": a < b,
    "less_equal": index(0, 3, N, 7) <= index(1, 3, 7),
    "greater": a > b,
    "greater_equal": index(0, 3, N, 7) >= index(1, 3, 7),
    "and": truth(0, N, 7) & truth(1, 7),
    "or": truth(0, N, 7) | truth(1, 7),
    "where": torch.where(truth(0, N, 7), fill(1, 7), fill(2, 1)),
}
conv = F.conv2d(F.pad(fill(0, N, 4, 5, 6), (0, 2, 1, 1)), fill(1, 6, 2, 3, 3), fill(2, 6), stride=(2, 3), groups=2)
q, k, v = fill(0, N, 2, 3, 4), fill(1, N, 2, 5, 4), fill(2, N, 2, 5, 3)
cases |= {
    "conv": conv,
    "conv_fused": (conv + fill(3, N, 6, 3, 2)).clamp(0, 6),
    "conv_1d": F.conv1d(fill(0, N, 3, 7), fill(1, 4, 3, 3), dilation=2),
    "conv_transpose": F.conv_transpose2d(
        fill(0, N, 4, 3, 3), fill(1, 4, 2, 3, 3), fill(2, 4), stride=2, padding=1, output_padding=1, groups=2
    ),
    "linear": fill(0, N, 5) @ fill(1, 5, 3) + fill(2, 3),
    "linear_plain": fill(0, N, 5) @ fill(1, 5, 3),
    "linear_fused": F.silu(fill(0, N, 4, 5) @ fill(1, 5, 3) + fill(2, 3) + fill(3, N, 4, 3)),
    "matmul": fill(0, N, 2, 3, 4) @ fill(1, 2, 4, 2),
    "attention": F.scaled_dot_product_attention(q, k, v, scale=0.7),
    "attention_mask": F.scaled_dot_product_attention(q, k, v, attn_mask=fill(3, 3, 5), scale=0.7),
    "attention_causal": F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.7),
    "batch_norm": F.batch_norm(m, fill(3, 2), positive(4, 2), fill(1, 2), fill(2, 2), eps=1e-3),
    "batch_norm_rows": F.batch_norm(x, fill(3, 7), positive(4, 7), fill(1, 7), fill(2, 7), eps=1e-3),
    "layer_norm": F.layer_norm(fill(0, N, 3, 5), (5,), fill(1, 5), fill(2, 5), eps=1e-6),
    "layer_norm_scale": F.layer_norm(fill(0, N, 3, 5), (5,), fill(1, 5), eps=1e-6),
    "group_norm": F.group_norm(fill(0, N, 6, 2, 3), 3, fill(1, 6), fill(2, 6), eps=1e-5),
    "softmax": m.softmax(1),
    "log_softmax": m.log_softmax(3),
    "reduce_mean": m.mean((2, 3), keepdim=True),
    "reduce_sum": m.sum((0, 2)),
    "reduce_max": m.amax((1, 3)),
    "reduce_min": m.amin((2,), keepdim=True),
    "reduce_prod": fill(0, N, 3, 4).prod(2),
    "reduce_nothing": x,
    "arg_max": m.argmax(2, keepdim=True),
    "arg_min": m.argmin(3, keepdim=True),
}
top, low = m.topk(3, dim=2), m.topk(2, dim=3, largest=False)
cases |= {
    "top_k": [top.values, top.indices],
    "bottom_k": [low.values, low.indices],
    "max_pool": F.max_pool2d(m, 2, 2),
    "max_pool_ceil": F.max_pool2d(fill(0, N, 2, 6, 4), 3, 2, padding=1, ceil_mode=True),
    "max_pool_dilated": F.max_pool2d(m, 2, 1, dilation=2),
    "avg_pool": F.avg_pool2d(m, 3, 2, padding=1),
    "avg_pool_inside": F.avg_pool2d(m, 3, 2, padding=1, count_include_pad=False),
    "avg_pool_ceil": F.avg_pool2d(fill(0, N, 2, 6, 4), 3, 2, padding=1, ceil_mode=True),
    "avg_pool_inside_ceil": F.avg_pool2d(
        fill(0, N, 2, 6, 4), 3, 2, padding=1, ceil_mode=True, count_include_pad=False
    ),
    "avg_pool_ceil_plain": F.avg_pool2d(m, 2, 2, ceil_mode=True),
    "adaptive_to_one": F.adaptive_avg_pool2d(m, 1),
    "adaptive_even": F.adaptive_avg_pool2d(fill(0, N, 2, 6, 4), (3, 2)),
    "adaptive_uneven": F.adaptive_avg_pool2d(m, (3, 3)),
    "adaptive_larger": F.adaptive_avg_pool2d(fill(0, N, 1, 2, 3), (3, 4)),
    "nearest": F.interpolate(fill(0, N, 1, 2, 3), size=(4, 9)),
    "nearest_uneven": F.interpolate(m, size=(7, 3)),
    "bilinear": F.interpolate(m, size=(7, 3), mode="bilinear"),
    "bilinear_corners": F.interpolate(m, size=(7, 3), mode="bilinear", align_corners=True),
    "bicubic": F.interpolate(m, size=(3, 7), mode="bicubic"),
    "bicubic_corners": F.interpolate(m, size=(3, 7), mode="bicubic", align_corners=True),
    "flatten": m.flatten(1),
    "split_channels": fill(0, N, 4, 3).reshape(N, 2, 2, 3),
    "into_batch": fill(0, N, 2, 6).reshape(2 * N, 6),
    "out_of_batch": fill(0, 2 * N, 6).reshape(N, 12),
    "two_open": fill(0, N, 2 * N).reshape(2 * N, 1, N),
    "transpose": m.permute(0, 3, 1, 2),
    "transpose_batch": fill(0, N, 3).permute(1, 0),
    "expand": fill(0, N, 1, 3).expand(N, 4, 3),
    "expand_batch": fill(0, 1, 3).expand(N, 3),
    "slice": m[:, 1:, 0:4:2, 1:3],
    "slice_whole": m,
    "slice_batch": m[1:, :, :, ::3],
    "flip": m.flip((0, 3)),
    "concat": torch.cat([fill(0, N, 2, 3), fill(1, N, 1, 3), fill(2, N, 3, 3)], 1),
    "pad_constant": F.pad(m, (1, 2, 0, 1), value=0.25),
    "pad_reflect": F.pad(m, (1, 2, 3, 1), mode="reflect"),
    "pad_edge": F.pad(m, (1, 2, 3, 1), mode="replicate"),
    "gather": m.index_select(2, index(1, 5, 3)),
    "gather_elements": fill(0, N, 4, 3).gather(1, index(1, 4, N, 2, 3)),
    "cast_to_i64": fill(0, N, 7).long(),
    "cast_to_bool": index(0, 2, N, 7).bool(),
    "cast_to_f32": truth(0, N, 7).float(),
    "full": torch.full((N, 3), 1.5),
    "full_multiple": torch.full((3, 2 * N, 2), 7),
    "full_bool": torch.full((2, 2), True),
}


def entry(tensor):
    values = tensor.flatten().tolist()
    if tensor.dtype == torch.float32:
        values = [float(f"{value:.9g}") for value in values]
    return {"shape": list(tensor.shape), "type": {torch.float32: "f32", torch.int64: "i64", torch.bool: "bool"}[tensor.dtype], "values": values}


lines = []
for name, outputs in cases.items():
    outputs = outputs if isinstance(outputs, list) else [outputs]
    lines.append(f"{json.dumps(name)}: {json.dumps([entry(output) for output in outputs], separators=(',', ':'))}")
print("{\n" + ",\n".join(lines) + "\n}")
