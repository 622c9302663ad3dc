"""A peer of ocelli's benchmark: loads a network into another runtime and times it on request.

    python3 peer.py RUNTIME MODEL THREADS N C H W [NAME]

RUNTIME is onnxruntime, tract (MODEL: an ONNX file) or pytorch (MODEL: safetensors, NAME: timm's name). Requests
come as lines on standard input, one JSON object answers each:

    run COUNT           time COUNT runs on random numbers, after one that does not count
    check INPUT OUTPUT  run on the raw float32 numbers of one file, write the result's to the other
"""

import json
import resource
import sys
import time

started = time.perf_counter()


def onnxruntime(path, threads, _name):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    begun = time.perf_counter()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return f"onnxruntime {ort.__version__}", begun, lambda x: session.run(None, {name: x})[0]


def tract(path, threads, _name):
    from importlib.metadata import version

    import tract

    if threads != 1:
        raise RuntimeError("tract runs on one thread; compare with --threads 1")
    begun = time.perf_counter()
    loader = tract.onnx()
    model = loader.load(path) if hasattr(loader, "load") else loader.model_for_path(path)
    if hasattr(tract, "runtime_for_name"):  # 0.22 and later: the runtime optimises
        runnable = tract.runtime_for_name("default").prepare(model.into_model())
    else:
        runnable = model.into_optimized().into_runnable()
    return f"tract {version('tract')}", begun, lambda x: runnable.run([x])[0].to_numpy()


def reference(name):
    """The authors' own network, from a checkout of their code that OCELLI_REFERENCE names; None without one."""
    import contextlib
    import importlib
    import inspect
    import os
    import types

    code = os.environ.get("OCELLI_REFERENCE")
    rooms = {
        "vig": ("vig_pytorch", "vig"),
        "pvig": ("vig_pytorch", "pyramid_vig"),
        "tnt": ("tnt_pytorch", "tnt"),
        "g": ("g_ghost_pytorch", "g_ghost_regnet"),
        "parameternet": ("parameternet_pytorch/cv", "parameternet"),
    }
    folder, module = rooms.get(name.split("_")[0], (None, None))
    if not code or not folder:
        return None
    # The code was written for older versions of timm and numpy.
    import numpy
    import timm.layers
    import timm.models._efficientnet_blocks

    class SqueezeExcite(timm.models._efficientnet_blocks.SqueezeExcite):
        def __init__(self, channels, se_ratio, act_layer, gate_fn, divisor):
            super().__init__(
                channels,
                rd_channels=timm.layers.make_divisible(channels * se_ratio, divisor),
                act_layer=act_layer,
                gate_layer="hard_sigmoid",
            )

    numpy.float = float
    sys.modules["timm.models.layers"] = timm.layers
    sys.modules["timm.models.layers.helpers"] = timm.layers.helpers
    sys.modules["timm.models.efficientnet_blocks"] = types.SimpleNamespace(SqueezeExcite=SqueezeExcite)
    sys.path.insert(0, f"{code}/{folder}")
    def build(made, *_, **arguments):
        return made(**{k: v for k, v in arguments.items() if k in inspect.signature(made).parameters})

    with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the answers
        own = importlib.import_module(module)
        if hasattr(own, "build_model_with_cfg"):
            own.build_model_with_cfg = build
        return getattr(own, name)()


def pytorch(path, threads, name):
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    begun = time.perf_counter()
    weights = load_file(path)
    heads = [v.shape[0] for k, v in weights.items() if v.dim() in (2, 4) and k.split(".")[0] in ("fc", "classifier", "head")]
    model = reference(name)
    if model is None:
        import timm

        model = timm.create_model(name, num_classes=heads[-1] if heads else 1000)
    model.load_state_dict(weights, strict=False)
    model = model.eval()

    def run(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return f"pytorch {torch.__version__} eager", begun, run


def peak_bytes():
    try:  # Linux; getrusage would also count what the parent held when it forked
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    runtime, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    shape = tuple(map(int, sys.argv[4:8]))
    try:
        import numpy

        makers = {"onnxruntime": onnxruntime, "tract": tract, "pytorch": pytorch}
        title, begun, run = makers[runtime](path, threads, sys.argv[8] if len(sys.argv) > 8 else "")
        x = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
        loaded = time.perf_counter()
        run(x)
        first = time.perf_counter()
    except Exception as error:  # whatever a peer cannot do is said, not failed
        print(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]}), flush=True)
        sys.exit(0)
    print(json.dumps({"title": title, "load_ms": 1e3 * (loaded - begun), "first_ms": 1e3 * (first - loaded)}), flush=True)
    for line in sys.stdin:
        words = line.rstrip("\n").split("\t")
        if words[0] == "run":
            times = []
            run(x)  # wakes the threads
            for _ in range(int(words[1])):
                begun = time.perf_counter()
                run(x)
                times.append(1e3 * (time.perf_counter() - begun))
            print(json.dumps({"ms": times, "peak_bytes": peak_bytes()}), flush=True)
        elif words[0] == "check":
            given = numpy.fromfile(words[1], dtype=numpy.float32).reshape(shape)
            numpy.ascontiguousarray(run(given), dtype=numpy.float32).tofile(words[2])
            print(json.dumps({"written": words[2]}), flush=True)


if __name__ == "__main__":
    main()
