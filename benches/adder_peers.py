"""Times 3x3 int8 convolutions of ONNX Runtime and float adder convolutions of PyTorch on one thread, beside
`cargo run --release -p ocelli-kernels --example adder`. Needs numpy, onnx, onnxruntime and torch."""

import time

import numpy as np
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper


def fastest(run, seconds):
    """The fastest of many runs, in microseconds."""
    best, begun, runs = float("inf"), time.perf_counter(), 0
    while runs < 10 or time.perf_counter() - begun < seconds:
        one = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - one)
        runs += 1
    return 1e6 * best


def session(nodes, constants, shape, name_in, name_out, element):
    constants = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, element, shape) for name in (name_in, name_out)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


torch.set_num_threads(1)
print(f"onnxruntime {ort.__version__}, torch {torch.__version__}, one thread, us (fastest)")
print(f"{'map':<16} {'ORT q,conv,dq':>14} {'ORT conv':>10} {'cdist p=1':>12} {'unfolded':>12}")
for side, channels in [(32, 16), (16, 32), (8, 64), (56, 64), (28, 128), (14, 256), (7, 512)]:
    generator = np.random.default_rng(0)
    shape = [1, channels, side, side]
    x = generator.random(shape, dtype=np.float32)
    constants = {
        "x_scale": np.float32(1 / 255), "x_zero": np.uint8(0),
        "w": generator.integers(-63, 63, (channels, channels, 3, 3)).astype(np.int8),
        "w_scale": np.full(channels, 0.01, np.float32), "w_zero": np.zeros(channels, np.int8),
        "y_scale": np.float32(0.5), "y_zero": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node(
            "QLinearConv",
            ["xq", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"],
            ["yq"], kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        ),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "y_zero"], ["y"]),
    ]
    whole = session(nodes, constants, shape, "x", "y", TensorProto.FLOAT)
    alone = session(nodes[1:2], constants, shape, "xq", "yq", TensorProto.UINT8)
    codes = (x * 255).astype(np.uint8)
    ours, weights = torch.from_numpy(x), torch.randn(channels, channels * 9)

    def cdist():
        columns = torch.nn.functional.unfold(ours, 3, padding=1)[0].t()
        return -torch.cdist(columns, weights, p=1)

    def unfolded():
        columns = torch.nn.functional.unfold(ours, 3, padding=1)
        return -(weights[None, :, :, None] - columns[:, None]).abs().sum(2)

    with torch.no_grad():
        times = [
            fastest(lambda: whole.run(None, {"x": x}), 0.5),
            fastest(lambda: alone.run(None, {"xq": codes}), 0.5),
            fastest(cdist, 0.3),
            fastest(unfolded, 0.3),
        ]
    print(f"{f'{side}x{side}x{channels}':<16} {times[0]:>14.1f} {times[1]:>10.1f} {times[2]:>12.1f} {times[3]:>12.1f}", flush=True)
