"""Checks ONNX files: `onnx.checker` with full shape inference, then ONNX Runtime against expected outputs.

Reads one JSON object a line on standard input and answers each with one:

    {"name": .., "model": PATH, "runs": [{"inputs": [TENSOR, ..], "outputs": [TENSOR, ..]}, ..]}
    TENSOR = {"name": .., "shape": [..], "type": "f32" | "i64" | "bool", "file": PATH of the raw elements}

    {"name": .., "error": largest difference relative to the output's largest element, "problem": null or text}

The first line answered holds the versions of the packages, or {"missing": text} where one is not there.
"""

import json
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as missing:
    print(json.dumps({"missing": str(missing)}))
    sys.exit(3)

TYPES = {"f32": np.float32, "i64": np.int64, "bool": np.bool_}


def tensor(description):
    elements = np.fromfile(description["file"], dtype=TYPES[description["type"]])
    return elements.reshape(description["shape"])


def difference(got, expected):
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ValueError(f"{got.dtype} {got.shape} instead of {expected.dtype} {expected.shape}")
    if got.size == 0:
        return 0.0
    if got.dtype != np.float32:
        return 0.0 if np.array_equal(got, expected) else 1.0
    if not np.array_equal(np.isfinite(got), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    got, expected = np.where(finite, got, 0).astype(np.float64), np.where(finite, expected, 0)
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-6))


def check(case):
    onnx.checker.check_model(onnx.load(case["model"]), full_check=True)
    if not case["runs"]:
        return 0.0
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(case["model"], options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for run in case["runs"]:
        feed = {entry["name"]: tensor(entry) for entry in run["inputs"]}
        names = [entry["name"] for entry in run["outputs"]]
        for got, entry in zip(session.run(names, feed), run["outputs"]):
            worst = max(worst, difference(np.asarray(got), tensor(entry)))
    return worst


print(json.dumps({"onnx": onnx.__version__, "onnxruntime": ort.__version__}), flush=True)
for line in sys.stdin:
    case = json.loads(line)
    answer = {"name": case["name"], "error": None, "problem": None}
    try:
        answer["error"] = check(case)
    except Exception as problem:  # whatever it is, the caller is told
        answer["problem"] = f"{type(problem).__name__}: {problem}"
    print(json.dumps(answer), flush=True)
