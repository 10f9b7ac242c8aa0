#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures build engines beside each other and prints tables. Judges nothing, gates nothing.

    measure.py [--edges 1000,10000] [--runs 11] NAME=COMMAND [NAME=COMMAND ...]

Each engine gets a copy of the same project and builds it itself. Then, in each round, every engine
in turn: a null build; a source changed; a source touched; the manifest replaced by an equal one.
Medians, so that a busy moment of the machine falls on all alike. Peak memory has this program's own
size as its floor, since the kernel carries it over to the child.

Projects come from ../shared/bench/make_graph.py beside the repository where that is there, else
from graph.py here.
"""
import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.path.join(HERE, "..", "..", "..", "shared", "bench", "make_graph.py")


def make(folder, edges):
    if os.path.exists(SHARED):
        subprocess.run([sys.executable, SHARED, folder, "--edges", str(edges)], check=True,
                       stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, os.path.join(HERE, "graph.py"), folder, str(edges)],
                       check=True)


def a_source(folder):
    for root, _, names in sorted(os.walk(os.path.join(folder, "src"))):
        for name in sorted(names):
            if name.endswith(".c"):
                return os.path.join(root, name)
    sys.exit("measure: the project has no sources")


def run(folder, command):
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = child.stdout.read().decode("utf-8", "replace")
    _, status, use = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"measure: {command} failed in {folder}:\n{text[-2000:]}")
    return ((time.perf_counter() - start) * 1e3, (use.ru_utime + use.ru_stime) * 1e3,
            use.ru_maxrss / 1024)


def change(source, number):
    with open(source, encoding="utf-8") as file:
        rest = file.read().split("\n", 1)[1]
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"int changed_{number};\n{rest}")


def replace(path):
    shutil.copyfile(path, path + ".new")
    os.rename(path + ".new", path)


def situations(folder, source, number):
    yield "null build", lambda: None
    yield "source changed", lambda: change(source, number)
    yield "source touched", lambda: os.utime(source)
    yield "manifest replaced", lambda: replace(os.path.join(folder, "build.ninja"))


def measure(edges, engines, runs):
    with tempfile.TemporaryDirectory(prefix="quench-bench-") as root:
        project = os.path.join(root, "project")
        make(project, edges)
        folders = {}
        seen = {}
        for name, _ in engines:
            folders[name] = os.path.join(root, name)
            shutil.copytree(project, folders[name])
        for name, command in engines:
            seen["full build", name] = [run(folders[name], command)]
            time.sleep(0.1)
            run(folders[name], command)
            run(folders[name], command)
        for number in range(runs):
            for name, command in engines:
                source = a_source(folders[name])
                for title, prepare in situations(folders[name], source, number):
                    prepare()
                    # Files settle: no clock step hides a further change.
                    time.sleep(0.05)
                    seen.setdefault((title, name), []).append(run(folders[name], command))
                    time.sleep(0.05)
                    run(folders[name], command)
        return seen


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--edges", default="1000,10000")
    options.add_argument("--runs", type=int, default=11)
    options.add_argument("engine", nargs="+")
    given = options.parse_args()
    engines = [(name, command.split()) for name, command in
               (engine.split("=", 1) for engine in given.engine)]
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} processors, "
          f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start\n")
    for edges in (int(number) for number in given.edges.split(",")):
        seen = measure(edges, engines, given.runs)
        print(f"{edges:,} edges (median of {given.runs}; the full build once)\n")
        print("| situation | engine | wall ms | user+sys ms | peak MiB |")
        print("| --- | --- | ---: | ---: | ---: |")
        for title in ["null build", "source changed", "source touched", "manifest replaced",
                      "full build"]:
            for name, _ in engines:
                rows = seen[title, name]
                wall, cpu = (statistics.median(row[i] for row in rows) for i in (0, 1))
                print(f"| {title} | {name} | {wall:.1f} | {cpu:.1f} | "
                      f"{max(row[2] for row in rows):.1f} |")
        print(flush=True)


if __name__ == "__main__":
    main()
