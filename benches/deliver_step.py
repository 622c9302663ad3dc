"""Steps of joint training of neural video delivery side by side: ocelli and the same networks in PyTorch eager, the reference's way (the network runs once for
every chunk of a batch), same threads, taken in turns.

    cargo build --release -p ocelli-video --example deliver_step
    python benches/deliver_step.py [--threads 1] [--rounds 5]        # needs torch

Patches of 48 pixels (24 at low resolution), x2, six chunks drawn at random, Adam, L1. Ratios are those of the medians over the rounds.
"""

import argparse
import statistics
import subprocess
import sys

NETWORKS = ["espcn", "srcnn", "vdsr16", "edsr-s", "edsr-m"]

REFERENCE = r"""
import sys, time, torch
from torch import nn
from torch.nn import functional as F

name, batch, chunks, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)


class Modulation(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.transformer = nn.Conv2d(channels, channels, 1, groups=groups)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.gamma * self.transformer(x) + x


def site(channels, inputs):
    return nn.ModuleList(Modulation(channels, channels // inputs) for _ in range(chunks))


def conv(i, o, k=3):
    return nn.Conv2d(i, o, k, padding=k // 2)


class Chain(nn.Module):
    # ESPCN and SRCNN: the modulation follows the ReLU.
    def __init__(self, convs, enlarged):
        super().__init__()
        self.convs, self.enlarged = nn.ModuleList(convs), enlarged
        self.sites = nn.ModuleList(site(c.out_channels, 2) for c in convs[:-1])

    def forward(self, x, chunk):
        if self.enlarged:
            x = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        for own, place in zip(self.convs, self.sites):
            x = place[chunk](F.relu(own(x)))
        x = self.convs[-1](x)
        return x if self.enlarged else F.pixel_shuffle(x, 2)


class Vdsr(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.head, self.tail = conv(3, 64), conv(64, 3)
        self.body = nn.ModuleList(conv(64, 64) for _ in range(depth - 2))
        self.sites = nn.ModuleList(site(64, 1) for _ in range(depth - 2))

    def forward(self, x, chunk):
        x = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        y = F.relu(self.head(x))
        for own, place in zip(self.body, self.sites):
            y = F.relu(place[chunk](own(y)))
        return self.tail(y) + x


class Edsr(nn.Module):
    def __init__(self, blocks, f):
        super().__init__()
        self.head, self.last, self.up, self.tail = conv(3, f), conv(f, f), conv(f, 4 * f), conv(f, 3)
        self.body = nn.ModuleList(nn.ModuleList([conv(f, f), conv(f, f), site(f, 1), site(f, 1)]) for _ in range(blocks))

    def forward(self, x, chunk):
        head = y = self.head(x)
        for first, second, one, two in self.body:
            y = y + two[chunk](second(F.relu(one[chunk](first(y)))))
        return self.tail(F.pixel_shuffle(self.up(self.last(y) + head), 2))


net = {
    "espcn": lambda: Chain([conv(3, 64), conv(64, 64), conv(64, 32), conv(32, 12)], False),
    "srcnn": lambda: Chain([conv(3, 64, 9), conv(64, 32, 5), conv(32, 3, 5)], True),
    "vdsr16": lambda: Vdsr(16),
    "edsr-s": lambda: Edsr(8, 32),
    "edsr-m": lambda: Edsr(16, 64),
}[name]()
optimizer = torch.optim.Adam(net.parameters(), 1e-4)
torch.manual_seed(0)
times = []
for _ in range(steps + 1):
    low, high = torch.rand(batch, 3, 24, 24) * 255, torch.rand(batch, 3, 48, 48) * 255
    ids = torch.randint(0, chunks, (batch,))
    begun = time.perf_counter()
    optimizer.zero_grad()
    loss = 0
    for chunk in range(chunks):
        rows = (ids == chunk).nonzero()[:, 0]
        if len(rows):
            loss = loss + F.l1_loss(net(low[rows], chunk), high[rows]) * len(rows)
    (loss / batch).backward()
    optimizer.step()
    times.append(time.perf_counter() - begun)
print(sorted(times[1:])[steps // 2])
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    args = parser.parse_args()
    print(f"{'network':<10} {'ocelli ms':>10} {'PyTorch ms':>11} {'ratio':>6}")
    for name in args.networks:
        words = [name, *map(str, (args.batch, 6, args.steps, args.threads))]
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(float(subprocess.check_output(["target/release/examples/deliver_step", *words])))
            theirs.append(float(subprocess.check_output([sys.executable, "-c", REFERENCE, *words])))
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{name:<10} {a * 1e3:>10.1f} {b * 1e3:>11.1f} {a / b:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
