#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times one training step beside PyTorch's on the CPU and prints tables. Gates nothing.

    swift build -c release --product TrainingStep
    training_step.py [--python VENV/bin/python] [--rounds 12] [--threads 2] [--isa avx2]
                     [NETWORK[:lsq] ...]

A step: forward, KL to given teacher's logits, backward, SGD with momentum, fake quantization of
every layer's input (uint8, one scale) and weight (int8, one scale a channel); with `:lsq` scales
are learned too. Both sides get the same weights and data; the first loss is compared. Each round
runs one step of every side in turn; medians. PyTorch runs in both layouts, the better one counts.

The other side needs PyTorch for the CPU, which is no dependency of Quench:

    python3 -m venv VENV
    VENV/bin/pip install numpy
    VENV/bin/pip install torch    # the build for the CPU

Without it only our own figures are printed, and it says so.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BATCH = {"resnet18": 8, "resnet20": 64, "mobilenetv2": 8}
ASKED = {"resnet18": 1.05, "resnet20": 0.95, "mobilenetv2": 0.62}

# Tasks of the kernels by what they do for the step.
KINDS = {
    "forward_task": "convolution forward", "input_task": "convolution dX",
    "weights_task": "convolution dW", "ready_task": "convolution dW: input made ready",
    "depthwise_task": "depthwise forward and dX", "depthwise_scatter_task": "depthwise dX, strided",
    "depthwise_gradient_task": "depthwise dW", "quantizer_backward_task": "masks and scale slopes",
    "pack_forward_task": "weights quantized and packed",
    "pack_input_task": "weights quantized and packed",
    "weights_gradient_task": "weights' masks and scale slopes", "sum_task": "bias slopes, means",
    "max_pool_task": "max pooling", "max_pool_backward_task": "max pooling",
}


class Side:
    """A process that steps when asked."""

    def __init__(self, name, command, isa):
        self.name, self.times, self.losses = name, [], []
        environment = dict(os.environ, OMP_WAIT_POLICY="passive")
        if isa == "avx2":
            environment.update(QUENCH_TRAIN_ISA="avx2", ATEN_CPU_CAPABILITY="avx2",
                               ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=environment)
        self.greeting = self.child.stdout.readline().split()
        if self.greeting[:1] != ["ready"]:
            raise RuntimeError(f"{name} did not start")

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline()

    def step(self, counts):
        seconds, loss = map(float, self.ask("step").split())
        self.losses.append(loss)
        if counts:
            self.times.append(seconds * 1e3)

    def median(self):
        return statistics.median(self.times)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def measure(network, mode, options, folder):
    batch, path = BATCH[network], os.path.join(folder, "numbers")
    common = [network, str(batch), str(options.threads), mode, path]
    own = Side("quench", [options.program] + common, options.isa)
    sides = [own]
    for layout in ("nchw", "channels_last") if options.python else ():
        script = os.path.join(HERE, "pytorch_step.py")
        sides.append(Side(layout, [options.python, script] + common + [layout], options.isa))
    for number in range(2 + options.rounds):
        for side in sides:
            side.step(number >= 2)
    memory = [list(map(int, side.ask("memory").split())) for side in sides]
    peak = max(float(own.ask("peak")) for _ in range(3))
    profile = json.loads(own.ask(f"profile {max(3, options.rounds // 2)}"))
    for side in sides:
        side.close()
    return sides, memory, peak, profile


def kinds(profile, threads):
    """Shares of the step's time by kind, the largest first; what no kernel did last."""
    total, sums = profile["seconds"], {}
    for entry in profile["kinds"]:
        name = KINDS.get(entry["name"], "elementwise and movement")
        wall, busy, calls = sums.get(name, (0, 0, 0))
        sums[name] = (wall + entry["wall"], busy + entry["busy"], calls + entry["calls"])
    rows = sorted(((w, b, c, n) for n, (w, b, c) in sums.items()), reverse=True)
    rest = total - sum(row[0] for row in rows)
    return [(n, w / total, b / (w * threads), c) for w, b, c, n in rows] + [
        ("outside kernels: copies, loss, optimizer", rest / total, 1 / threads, 0)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", default=os.path.join(ROOT, ".build/release/TrainingStep"))
    parser.add_argument("--python", help="a Python that has PyTorch")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=["avx2"], help="limit both sides to these instructions")
    parser.add_argument("networks", nargs="*")
    options = parser.parse_args()
    if not os.access(options.program, os.X_OK):
        sys.exit(f"training_step: {options.program} is not there: "
                 "swift build -c release --product TrainingStep")
    if options.python and subprocess.run(
            [options.python, "-c", "import torch"], capture_output=True).returncode != 0:
        options.python = None
    if not options.python:
        print("PyTorch is not there (--python): only our own side is measured.\n")
    tables = []
    print("| network, batch | scales | Quench ms | PyTorch NCHW ms | channels last ms | ratio "
          "| asked | peak MB | PyTorch MB (before import) | ratio | share of FMA peak |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for word in options.networks or [n + m for n in BATCH for m in ("", ":lsq")]:
        network, _, mode = word.partition(":")
        with tempfile.TemporaryDirectory(prefix="quench-bench-") as folder:
            sides, memory, peak, profile = measure(network, mode or "fixed", options, folder)
        own, others = sides[0], sides[1:]
        best = min(others, key=Side.median) if others else None
        share = float(own.greeting[2]) / own.median() * 1e-6 / peak
        cells = [f"{network}, {BATCH[network]}", mode or "fixed", f"{own.median():.1f}"]
        cells += [f"{side.median():.1f}" for side in others] or ["-", "-"]
        cells += [f"**{own.median() / best.median():.2f}**" if best else "-", ASKED[network]]
        cells += [f"{memory[0][0] / 1e6:.0f}"]
        if best:
            # The layout that needs less.
            least = min(memory[1:])
            cells += [f"{least[0] / 1e6:.0f} ({least[1] / 1e6:.0f})",
                      f"{memory[0][0] / least[0]:.2f}"]
        else:
            cells += ["-", "-"]
        print("|", " | ".join(map(str, cells + [f"{share:.0%} of {peak:.0f}"])), "|", flush=True)
        spread = ", ".join(f"{side.name} {min(side.times):.0f}-{max(side.times):.0f} ms, first "
                           f"loss {side.losses[0]:.4f}" for side in sides)
        tables.append((word, spread, kinds(profile, options.threads)))
    for word, spread, rows in tables:
        print(f"\n{word}: {spread}\n\n| kind | share of time | threads busy | calls |")
        print("|---|---|---|---|")
        for name, part, busy, calls in rows:
            print(f"| {name} | {part:.1%} | {busy:.0%} | {calls} |")


if __name__ == "__main__":
    main()
