"""Times binary 3x3 convolutions of 256 channels against ONNX Runtime's float32 ones, in turns, on one thread.

    cargo build --release -p ocelli-kernels --example binary
    python benches/binary_conv.py [--program target/release/examples/binary] [--rounds 5]

The binary time includes packing its input's signs and writing scaled float32 numbers. Printed are the medians over the rounds of each
round's best of 40 runs, and their ratio.
"""

import argparse
import statistics
import subprocess
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDES = (14, 28)
CHANNELS = 256
RUNS = 40


def session(side):
    weights = (np.random.randn(CHANNELS, CHANNELS, 3, 3) * 0.02).astype(np.float32)
    shape = [1, CHANNELS, side, side]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], kernel_shape=[3, 3])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    own = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return own, {"x": np.random.randn(*shape).astype(np.float32)}


def peer(own, feed):
    best = float("inf")
    for _ in range(RUNS):
        begun = time.perf_counter()
        own.run(None, feed)
        best = min(best, time.perf_counter() - begun)
    return 1e3 * best


def binary(program, side):
    name = f"{CHANNELS}->{CHANNELS} {side}² 3×3/1"
    printed = subprocess.run([program, str(RUNS), name], capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if line.startswith(name))
    return float(line[len(name) :].split()[3])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="target/release/examples/binary")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}\n{'side':>4} {'float32 ms':>11} {'binary ms':>10} {'times':>6}")
    for side in SIDES:
        own, feed = session(side)
        pairs = [(peer(own, feed), binary(given.program, side)) for _ in range(given.rounds)]
        float32, bits = (statistics.median(times) for times in zip(*pairs))
        print(f"{side:>3}² {float32:>11.3f} {bits:>10.3f} {float32 / bits:>6.1f}")


if __name__ == "__main__":
    main()
