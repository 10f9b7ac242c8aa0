#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times "nothing to do" of Quench's quickstart (500 calibration images) beside DVC's.

    dvc.py --quench PATH [--dvc PATH] [--runs 11]

Quench builds Examples/quickstart, with its 1,000 evaluation images, for which ONNX Runtime and
Debian's dataset-fashion-mnist have to be there. DVC gets a project of the same shape: 16 stages that
each read a network and a share of 500 images, then a chain of 8 stages; its commands do nothing
worth measuring. Then, by turns, `dvc repro`, `dvc status` and `quench`; medians are printed. DVC is
`pip install dvc`; what it can skip (git, analytics) is switched off.
"""
import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure

CHAIN = ["merge", "calibrate", "assess", "config", "quantize", "compile", "evaluate", "bundle"]
QUICKSTART = pathlib.Path(measure.HERE, "..", "..", "Examples", "quickstart").resolve()


def write_project(folder, images=500, shards=16):
    script = os.path.join(measure.SHARED, "bench", "peers", "dvc_project.py")
    if os.path.exists(script):
        subprocess.run([sys.executable, script, folder], check=True)
        return
    noise = random.Random(1)
    os.makedirs(folder / "images")
    names = [f"images/{index:05d}.jpg" for index in range(images)]
    for name in names:
        (folder / name).write_bytes(noise.randbytes(60_000))
    (folder / "model.onnx").write_bytes(noise.randbytes(18_000_000))
    stages = [(f"observe{shard}", ["model.onnx", *names[shard::shards]]) for shard in range(shards)]
    before = [f"{name}.out" for name, _ in stages]
    for name in CHAIN:
        stages.append((name, before))
        before = [f"{name}.out", "model.onnx"]
    text = "stages:\n"
    for name, needs in stages:
        text += (f"  {name}:\n    cmd: sha256sum {needs[0]} > {name}.out\n"
                 f"    deps: [{', '.join(needs)}]\n    outs: [{name}.out]\n")
    (folder / "dvc.yaml").write_text(text)


def quietly(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"dvc: {command} failed:\n{done.stdout.decode()[-2000:]}")


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quench", type=os.path.abspath, required=True)
    options.add_argument("--dvc", default="dvc")
    options.add_argument("--runs", type=int, default=11)
    given = options.parse_args()
    os.environ["DVC_NO_ANALYTICS"] = "1"
    with tempfile.TemporaryDirectory(prefix="quench-dvc-") as name:
        root = pathlib.Path(name)
        probe = measure.compiled(name)
        theirs = root / "dvc"
        write_project(theirs)
        quietly([given.dvc, "init", "--no-scm", "-q"], theirs)
        quietly([given.dvc, "repro", "-q"], theirs)
        ours = root / "quickstart"
        shutil.copytree(QUICKSTART, ours, ignore=shutil.ignore_patterns("build", ".quench", "images"))
        quietly([sys.executable, "unpack.py", "images"], ours)
        quietly([given.quench, "build"], ours)
        engines = [measure.Engine("dvc repro", [given.dvc, "repro"], str(theirs), probe),
                   measure.Engine("dvc status", [given.dvc, "status"], str(theirs), probe),
                   measure.Engine("quench", [given.quench], str(ours), probe)]
        engines[2].settle()
        seen = {engine.name: [] for engine in engines}
        for number in range(given.runs + 1):
            for engine in engines:
                row = engine.run()
                if number:
                    seen[engine.name].append(row)
        base = statistics.median(row[0] for row in seen["quench"])
        print("| nothing to do | wall ms | best ms | user+sys ms | peak MiB | times quench |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, rows in seen.items():
            wall = statistics.median(row[0] for row in rows)
            print(f"| {name} | {wall:,.1f} | {min(row[0] for row in rows):,.1f} | "
                  f"{statistics.median(row[1] for row in rows):,.1f} | "
                  f"{max(row[2] for row in rows):.0f} | {wall / base:,.0f} |")


if __name__ == "__main__":
    main()
