#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures build engines beside each other and prints tables. Judges nothing, gates nothing.

    measure.py [--edges 1000,10000] [--runs 11] [--only null,changed,touched,replaced,first,full]
               [--aliases 950000] [--in FOLDER [--prepare]] NAME=COMMAND [NAME=COMMAND ...]

Each engine gets a copy of the same project and builds it itself. Then, in each round, every engine
in turn, another one first each time, so that a busy moment of the machine falls on all alike;
medians are printed.

    null      nothing to do
    changed   one source changed
    touched   one source touched, its bytes as before
    replaced  the manifest replaced by an equal one
    first     the manifest changed (a comment more): no image of it serves
    full      everything from nothing; what was built is put aside, not deleted, because ext4 looks for
              free inodes ever longer after many files were deleted

With --aliases so many of the edges run nothing, which makes a million edges possible (graph.py).
With --in the projects stay in FOLDER and a later call goes on with them; --prepare only makes and
builds them. `floor` beside the null build is one `stat` on every file that the graph names.

Projects come from make_graph.py in $QUENCH_SHARED/bench, or in ../shared/bench beside the
repository, where that is there, else from graph.py here. Needs a C compiler (probe.c).
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
SHARED = os.environ.get("QUENCH_SHARED") or os.path.join(HERE, "..", "..", "..", "shared")
TITLES = {"null": "null build", "changed": "source changed", "touched": "source touched",
          "replaced": "manifest replaced", "first": "manifest changed", "full": "full build"}
LOGS = [".quench", ".ninja_log", ".ninja_deps", ".n2_db"]


def make(folder, edges, aliases):
    script = os.path.join(SHARED, "bench", "make_graph.py")
    if os.path.exists(script) and not aliases:
        subprocess.run([sys.executable, script, folder, "--edges", str(edges)], check=True,
                       stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, os.path.join(HERE, "graph.py"), folder,
                        str(edges - aliases), str(aliases)], check=True)


def compiled(folder):
    """The probe, compiled once."""
    probe = os.path.join(folder, "probe")
    if not os.path.exists(probe):
        subprocess.run(["cc", "-O2", "-o", probe, os.path.join(HERE, "probe.c")], check=True)
    return probe


class Engine:
    """One engine with a project of its own."""

    def __init__(self, name, command, folder, probe):
        self.name = name
        self.command = command
        self.folder = folder
        self.probe = probe

    def run(self):
        """Wall ms, user+sys ms, peak MiB of one run, and what it said."""
        log = self.folder + ".output"
        said = subprocess.run([self.probe, "run", log] + self.command, cwd=self.folder,
                              stdout=subprocess.PIPE, check=True).stdout
        wall, cpu, peak, code = (int(word) for word in said.split())
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if code:
            sys.exit(f"measure: {self.command} ended with {code} in {self.folder}:\n{text[-2000:]}")
        return wall / 1e3, cpu / 1e3, peak / 1024, text

    def settle(self):
        """Runs until there is nothing to do, and until no clock step can hide a further change."""
        for _ in range(3):
            time.sleep(0.03)
            text = self.run()[3]
            if "nothing to do" in text or "no work to do" in text:
                return
        sys.exit(f"measure: {self.command} does not come to rest in {self.folder}:\n{text[-2000:]}")


def a_source(folder):
    for root, folders, names in os.walk(os.path.join(folder, "src")):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".c"):
                return os.path.join(root, name)
    sys.exit("measure: the project has no sources")


def change(folder, number):
    source = a_source(folder)
    with open(source, encoding="utf-8") as file:
        text = file.read()
    rest = text.split("\n", 1)[1] if text.startswith("int changed_") else text
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"int changed_{number};\n{rest}")


def replace(path, more=""):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text + more)
    os.rename(path + ".new", path)


def empty(folder, project, aside):
    """Takes away all that a build made."""
    target = tempfile.mkdtemp(dir=aside)
    for name in os.listdir(folder):
        if name not in project or name in LOGS:
            os.rename(os.path.join(folder, name), os.path.join(target, name))
    os.sync()


def measure(edges, engines, given, root):
    """Rows of wall ms, user+sys ms and peak MiB by situation and engine."""
    probe = compiled(root)
    base = os.path.join(root, str(edges))
    project = os.path.join(base, "project")
    if not os.path.exists(os.path.join(project, "build.ninja")):
        make(project, edges, given.aliases)
    names = set(os.listdir(project))
    seen = {}
    all_of_them = []
    for name, command in engines:
        engine = Engine(name, command, os.path.join(base, name), probe)
        if not os.path.exists(engine.folder):
            shutil.copytree(project, engine.folder)
            seen.setdefault(("full", name), []).append(engine.run()[:3])
        all_of_them.append(engine)
    if given.prepare:
        return seen
    situations = [word for word in given.only.split(",") if word]
    for name in situations:
        if name not in TITLES:
            sys.exit(f"measure: no situation is called {name}")
    aside = os.path.join(base, "aside")
    os.makedirs(aside, exist_ok=True)
    stamp = int(time.time())
    files = os.path.join(project, "files.txt")
    for round_number in range(given.runs):
        if "null" in situations and os.path.exists(files):
            floor = Engine("floor", [probe, "stat", files], all_of_them[0].folder, probe)
            seen.setdefault(("null", "floor"), []).append(floor.run()[:3])
        for situation in situations:
            first = round_number % len(all_of_them)
            for engine in all_of_them[first:] + all_of_them[:first]:
                if situation == "full":
                    empty(engine.folder, names, aside)
                else:
                    engine.settle()
                if situation == "changed":
                    change(engine.folder, f"{stamp}_{round_number}")
                elif situation == "touched":
                    os.utime(a_source(engine.folder))
                elif situation == "replaced":
                    replace(os.path.join(engine.folder, "build.ninja"))
                elif situation == "first":
                    replace(os.path.join(engine.folder, "build.ninja"), "# one line more\n")
                seen.setdefault((situation, engine.name), []).append(engine.run()[:3])
    shutil.rmtree(aside)
    return seen


def show(edges, engines, given, seen):
    print(f"{edges:,} edges, medians of {given.runs}\n")
    print("| situation | engine | runs | user+sys ms | wall ms | best wall ms | peak MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for situation, title in TITLES.items():
        for name in [name for name, _ in engines] + ["floor"]:
            rows = seen.get((situation, name))
            if not rows:
                continue
            wall, cpu = (statistics.median(row[i] for row in rows) for i in (0, 1))
            print(f"| {title} | {name} | {len(rows)} | {cpu:,.1f} | {wall:,.1f} | "
                  f"{min(row[0] for row in rows):,.1f} | {max(row[2] for row in rows):.1f} |")
    print(flush=True)


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--edges", default="1000,10000")
    options.add_argument("--runs", type=int, default=11)
    options.add_argument("--only", default="null,changed,touched,replaced,first")
    options.add_argument("--aliases", type=int, default=0)
    options.add_argument("--in", dest="folder")
    options.add_argument("--prepare", action="store_true")
    options.add_argument("engine", nargs="+", metavar="NAME=COMMAND")
    given = options.parse_args()
    engines = [(name, command.split()) for name, command in
               (engine.split("=", 1) for engine in given.engine)]
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} processors, "
          f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start\n")
    for edges in (int(number) for number in given.edges.split(",")):
        if given.folder:
            os.makedirs(given.folder, exist_ok=True)
            seen = measure(edges, engines, given, os.path.abspath(given.folder))
        else:
            with tempfile.TemporaryDirectory(prefix="quench-bench-") as root:
                seen = measure(edges, engines, given, root)
        show(edges, engines, given, seen)


if __name__ == "__main__":
    main()
