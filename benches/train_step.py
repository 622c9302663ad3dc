"""Training steps side by side: ocelli and PyTorch eager (timm's networks), same threads, taken in turns.

    cargo build --release -p ocelli-image --example train_step
    python benches/train_step.py [--threads 2] [--rounds 5]        # needs torch and timm

With OCELLI_REFERENCE naming a checkout of the authors' PyTorch code, `--networks vig_ti_224_gelu ...` times that code.
Each round runs both on every setting; the ratio is that of the medians over the rounds, `of best` that of the
fastest rounds. With `--cpu --threads 1` other programs on the machine matter less.
"""

import argparse
import resource
import statistics
import subprocess
import sys

NETWORKS = ["resnet18", "ghostnet_100", "mobilenetv2_100"]
SIZES = ((16, 64), (4, 224))
# Networks that were written for pictures of 224 pixels.
FIXED = ("vig", "pvig", "tnt")


def pytorch(name, batch, side, steps, threads):
    code = f"""
import sys, time, torch, timm
sys.path.insert(0, "crates/ocelli/src/cli/bench")
import peer
torch.set_num_threads({threads})
model = (peer.reference("{name}") or timm.create_model("{name}", num_classes=10)).train()
optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-5)
x = torch.rand({batch}, 3, {side}, {side})
times = []
for _ in range({steps}):
    start = time.perf_counter()
    loss = -torch.log_softmax(model(x), 1).mean()
    loss.item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
print(sorted(times)[len(times) // 2])
"""
    return run([sys.executable, "-c", code])


def ocelli(name, batch, side, steps, threads):
    command = ["target/release/examples/train_step", name, *map(str, (batch, side, steps, threads))]
    return run(command)


def run(command):
    """The median seconds of a step, and the processor's seconds for the whole run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = float(subprocess.check_output(command).split()[0])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def step(side, setting, steps, threads, cpu):
    if not cpu:
        return side(*setting, steps, threads)[0]
    # What starting up costs is in both runs.
    few, many = (side(*setting, n, threads)[1] for n in (2, 2 + steps))
    return (many - few) / steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="processor time instead, for machines that are not quiet")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    args = parser.parse_args()
    found = {
        (name, *size): ([], [])
        for name in args.networks
        for size in SIZES
        if size[1] == 224 or not name.startswith(FIXED)
    }
    for _ in range(args.rounds):
        for setting, (ours, theirs) in found.items():
            ours.append(step(ocelli, setting, args.steps, args.threads, args.cpu))
            theirs.append(step(pytorch, setting, args.steps, args.threads, args.cpu))
    print(f"{'network':<18}{'batch':>6}{'side':>6}{'ocelli ms':>11}{'PyTorch ms':>12}{'ratio':>7}{'of best':>9}")
    for (name, batch, side), (ours, theirs) in found.items():
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{name:<18}{batch:>6}{side:>6}{1e3 * a:>11.1f}{1e3 * b:>12.1f}{a / b:>7.2f}{min(ours) / min(theirs):>9.2f}")


if __name__ == "__main__":
    main()
