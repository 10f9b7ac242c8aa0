#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds real CMake, Meson and GN projects with Quench as their make program, beside Ninja.

    projects.py --quench PATH [--ninja NAME=PATH ...] [--gn PATH] [--in FOLDER]
                [--only cmake,meson,gn,time,full] [--runs 11]

cmake  libarchive from Debian's source package: configured with Quench as CMAKE_MAKE_PROGRAM, built
       from nothing, built again (no command may run), installed, its own tests; then a source, a
       header and CMakeLists.txt change. Each Ninja does the same on a tree of its own; the commands
       and the failed tests are compared. Last, a tree that Ninja built is built by Quench.
meson  pixman, with NINJA=Quench, the same way.
gn     the example project of generate-ninja's source package.
time   null build and one changed source of libarchive, by turns, medians.
full   libarchive from nothing, by turns, wall time, twice.

Changes leave a mark in what is made of them: where an output stays as it was, Quench runs less than
Ninja. Sources come from `apt-get source` (deb-src has to be switched on), without Debian's patches. What is missing is said and
skipped. With --in the trees stay, and `time` can go on with them later. Exit code 1 when a check
fails.
"""
import argparse
import glob
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import measure

FAILED = []
NULL = "no work to do."


def check(what, holds, more=""):
    print(f"{'ok  ' if holds else 'FAIL'}  {what}{'' if holds else ': ' + str(more)[-400:]}", flush=True)
    if not holds:
        FAILED.append(what)


def run(*command, cwd=None, **environment):
    """Exit code and all that a command said."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace")


def source(package, root):
    """The upstream source of a Debian source package, fetched once; None when it cannot be had."""
    if not shutil.which("apt-get"):
        return print(f"skip  {package}: apt-get is not here")
    place = root / "sources" / package
    if not (place / "tree").exists():
        place.mkdir(parents=True, exist_ok=True)
        text = ""
        if not glob.glob(f"{place}/*.orig.tar.*"):
            text = run("apt-get", "source", "--download-only", "--tar-only", package, cwd=place)[1]
        found = sorted(glob.glob(f"{place}/*.orig.tar.[!a]*z"))
        if not found:
            return print(f"skip  {package}: no source package (deb-src?): {text[-200:].strip()}")
        (place / "new").mkdir()
        code, text = run("tar", "xf", found[0], "--strip-components=1", "-C", place / "new")
        if code:
            return print(f"skip  {package}: {text[-200:]}")
        (place / "new").rename(place / "tree")
        print(f"      {package}: {pathlib.Path(found[0]).name}")
    return place / "tree"


class Tree:
    """One engine's copy of a project: `source` and `out` in a folder of its own."""

    def __init__(self, root, name, program, source_tree=None):
        self.name = name
        self.program = pathlib.Path(program)
        self.folder = root / re.sub(r"\W", "-", name)
        self.source = self.folder / "source"
        self.out = self.folder / "out"
        if source_tree and not self.source.exists():
            shutil.copytree(source_tree, self.source, symlinks=True)

    def build(self, *arguments):
        return run(self.program, "-C", self.out, *arguments)

    def commands(self):
        """The commands that a build ran, without what names this tree, sorted; and its code."""
        code, text = self.build("-v")
        lines = re.findall(r"^\[\d+/\d+\] (.*)$", text, re.MULTILINE)
        return code, sorted(line.replace(str(self.folder), "") for line in lines), text

    def null(self, what):
        code, text = self.build()
        check(f"{self.name}: {what}", code == 0 and NULL in text, text)


def insert(path, line):
    text = path.read_text(errors="surrogateescape")
    path.write_text(line + text, errors="surrogateescape")


def grown(path):
    """A header that now leaves its mark in every object that is made with it."""
    insert(path, "#ifndef WAS_HERE\n#define WAS_HERE\n"
           "static int was_here __attribute__((used, unused)) = 1;\n#endif\n")


def compare(trees, what, change, expected=None, exact=True):
    """Makes the same change in all trees: all run the same commands, and then none.

    After a change of the project's own description Quench may run fewer than Ninja, never others:
    what a generator writes anew with the same bytes wakes nobody."""
    seen = {}
    for tree in trees:
        change(tree)
        code, commands, text = tree.commands()
        check(f"{tree.name}: {what}: builds, {len(commands)} commands", code == 0, text)
        tree.null(f"{what}: then no command")
        seen[tree.name] = commands
    first = seen[trees[0].name]
    for tree in trees[1:]:
        other = seen[tree.name]
        more, less = sorted(set(first) - set(other)), sorted(set(other) - set(first))
        check(f"{what}: the commands of {tree.name}" + ("" if first == other or exact else
              f", but for {len(less)} of them"), first == other or not (exact or more),
              f"only {trees[0].name}: {more}; only {tree.name}: {less}")
    if expected is not None:
        check(f"{what}: {expected} in it", any(expected in line for line in first), first)


def proved(tree, install, test, judge, **environment):
    """A built tree's files where it is installed, and what `judge` reads from its tests' text."""
    tree.null("null build runs no command")
    target = tree.folder / "installed"
    code, text = run(*install, DESTDIR=str(target), **environment)
    files = sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())
    check(f"{tree.name}: installs {len(files)} files", code == 0 and files, text)
    return files, judge(tree, *run(*test, **environment))


def agree(trees, seen):
    """Checks that all trees installed the same files and that their tests said the same."""
    files, results = seen[trees[0].name]
    for tree in trees[1:]:
        check(f"the tests say the same as with {tree.name}", seen[tree.name][1] == results,
              (results, seen[tree.name][1]))
        check(f"the files installed are those of {tree.name}", seen[tree.name][0] == files,
              (files, seen[tree.name][0]))


# MARK: CMake

def configure(tree):
    shutil.rmtree(tree.out, ignore_errors=True)
    return run("cmake", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tree.program}",
               "-DCMAKE_BUILD_TYPE=Debug", "-DENABLE_WERROR=OFF",
               "-DCMAKE_INSTALL_PREFIX=/usr", "-S", tree.source, "-B", tree.out)


def ctest_failures(tree, code, text):
    total = re.search(r"(\d+)% tests passed, (\d+) tests failed out of (\d+)", text)
    failures = sorted(re.findall(r"^\s+\d+ - (\S+) \(", text, re.MULTILINE))
    check(f"{tree.name}: its tests ran: {total and total[0]}; failed: {failures}",
          total is not None and int(total[3]) > 100, text)
    return failures


def cmake(root, engines):
    tree = source("libarchive", root)
    if tree is None or not shutil.which("cmake"):
        return print("skip  cmake: not here")
    trees = [Tree(root / "cmake", name, program, tree) for name, program in engines]
    seen = {}
    for tree in trees:
        code, text = configure(tree)
        check(f"{tree.name}: cmake configures libarchive", code == 0, text)
        code, text = tree.build()
        check(f"{tree.name}: builds {text.count('Building C object')} objects", code == 0, text)
        seen[tree.name] = proved(
            tree, ["cmake", "--install", tree.out],
            ["ctest", "--test-dir", tree.out, "-j2", "--timeout", "120"], ctest_failures)
        tree.null("after its tests no command")
    agree(trees, seen)
    library = "libarchive/archive_read.c"
    compare(trees, "a source changes",
            lambda tree: insert(tree.source / library, "int quench_was_here;\n"), "archive_read.c.o")
    compare(trees, "a header changes",
            lambda tree: grown(tree.source / "libarchive/archive_entry.h"),
            "archive_entry.c.o")
    compare(trees, "CMakeLists.txt changes", lambda tree: insert(
        tree.source / "cat/CMakeLists.txt", "add_compile_options(-fno-plt)\n"), "bsdcat.c.o", exact=False)
    compare(trees, "nothing but a comment in CMakeLists.txt changes",
            lambda tree: insert(tree.source / "CMakeLists.txt", "# more\n"), exact=False)
    # Where Ninja was before.
    if len(trees) > 1:
        logs = [trees[-1].out / name for name in (".ninja_log", ".ninja_deps")]
        before = [log.read_bytes() for log in logs]
        after = Tree(root / "cmake", trees[-1].name, trees[0].program)
        after.name = f"{trees[0].name} where {trees[-1].name} built"
        code, text = after.build()
        check(f"{after.name}: builds", code == 0, text)
        after.null("then no command")
        check("Ninja's logs are as they were", before == [log.read_bytes() for log in logs])
        # It may have work to do: what the other built is newer than its log says.
        code, text = trees[-1].build()
        check(f"{trees[-1].name} goes on there", code == 0, text)


# MARK: Meson

def meson_results(tree, code, text):
    results = re.findall(r"^(Ok|Fail|Timeout|Skipped):\s+(\d+)", text, re.MULTILINE)
    check(f"{tree.name}: its tests: {results}", code == 0 and ("Fail", "0") in results, text)
    return results


def meson(root, engines):
    tree = source("pixman", root)
    if tree is None or not shutil.which("meson"):
        return print("skip  meson: not here")
    trees = [Tree(root / "meson", name, program, tree) for name, program in engines]
    seen = {}
    for tree in trees:
        variables = {"NINJA": str(tree.program)}
        shutil.rmtree(tree.out, ignore_errors=True)
        code, text = run("meson", "setup", "-Dgtk=disabled", "-Dlibpng=disabled", "-Dopenmp=disabled",
                         "--prefix", "/usr", tree.out, tree.source, **variables)
        check(f"{tree.name}: meson sets pixman up", code == 0, text)
        code, text = run("meson", "compile", "-C", tree.out, **variables)
        check(f"{tree.name}: compiles", code == 0, text)
        seen[tree.name] = proved(
            tree, ["meson", "install", "-C", tree.out],
            ["meson", "test", "-C", tree.out, "-t", "10"], meson_results, **variables)
    agree(trees, seen)
    compare(trees, "a source of pixman changes",
            lambda tree: insert(tree.source / "pixman/pixman.c", "int quench_was_here;\n"), "pixman.c.o")
    compare(trees, "a header of pixman changes",
            lambda tree: grown(tree.source / "pixman/pixman.h"), "pixman.c.o")
    compare(trees, "meson.build changes", lambda tree: (tree.source / "test/meson.build").write_text(
        (tree.source / "test/meson.build").read_text() + "\n# more\n"), "regenerate", exact=False)


# MARK: GN

def gn(root, engines, program):
    tree = source("generate-ninja", root)
    if tree is None or not program:
        return print("skip  gn: not here")
    trees = [Tree(root / "gn", name, ninja, tree / "examples" / "simple_build")
             for name, ninja in engines]
    for tree in trees:
        shutil.rmtree(tree.out, ignore_errors=True)
        tree.out = tree.source / "out"
        shutil.rmtree(tree.out, ignore_errors=True)
        code, text = run(program, "gen", "out", cwd=tree.source)
        check(f"{tree.name}: gn gen", code == 0, text)
        code, text = tree.build()
        check(f"{tree.name}: builds", code == 0, text)
        tree.null("null build runs no command")
        code, text = run(tree.out / "hello")
        check(f"{tree.name}: the program runs", code == 0 and "Hello" in text, text)
    compare(trees, "a source of GN's example changes",
            lambda tree: insert(tree.source / "hello_static.cc", "int was_here;\n"), "hello_static")
    compare(trees, "a header of GN's example changes",
            lambda tree: grown(tree.source / "hello_shared.h"), "hello_shared")
    compare(trees, "BUILD.gn changes", lambda tree: (tree.source / "BUILD.gn").write_text(
        (tree.source / "BUILD.gn").read_text().replace(
            'sources = [ "hello.cc" ]', 'sources = [ "hello.cc" ]\n  cflags = [ "-g" ]')),
        "hello.cc", exact=False)


# MARK: Times

def timed(root, engines, runs, kinds):
    trees = [Tree(root / "cmake", name, program) for name, program in engines]
    if not all((tree.out / "build.ninja").exists() for tree in trees):
        return print("skip  times: `--only cmake` has to come first, with the same --in")
    probe = measure.compiled(str(root))
    seen = {}
    runners = [measure.Engine(tree.name, [str(tree.program), "-C", str(tree.out)],
                              str(tree.folder), probe) for tree in trees]
    if "time" in kinds:
        for _ in range(runs):
            for kind in ("null build", "source changed"):
                for tree, runner in zip(trees, runners):
                    runner.settle()
                    if kind == "source changed":
                        path = tree.source / "libarchive/archive_read.c"
                        text = re.sub(r"^int changed_\d+;\n", "", path.read_text())
                        path.write_text(f"int changed_{time.time_ns()};\n{text}")
                    seen.setdefault((kind, tree.name), []).append(runner.run())
    if "full" in kinds:
        for _ in range(min(2, runs)):
            for tree, runner in zip(trees, runners):
                tree.build("-t", "clean")
                for name in measure.LOGS:
                    path = tree.out / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                seen.setdefault(("full build", tree.name), []).append(runner.run())
    print("\n| libarchive | engine | runs | user+sys ms | wall ms | best wall ms | peak MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for (kind, name), rows in seen.items():
        wall, cpu = (statistics.median(row[i] for row in rows) for i in (0, 1))
        print(f"| {kind} | {name} | {len(rows)} | {cpu:,.1f} | {wall:,.1f} | "
              f"{min(row[0] for row in rows):,.1f} | {max(row[2] for row in rows):.0f} |")


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quench", required=True)
    options.add_argument("--ninja", action="append", default=[], metavar="NAME=PATH")
    options.add_argument("--gn", default=shutil.which("gn"))
    options.add_argument("--in", dest="folder")
    options.add_argument("--only", default="cmake,meson,gn,time,full")
    options.add_argument("--runs", type=int, default=11)
    given = options.parse_args()
    only = given.only.split(",")
    with tempfile.TemporaryDirectory(prefix="quench-projects-") as name:
        root = pathlib.Path(given.folder or name).resolve()
        (root / "bin").mkdir(parents=True, exist_ok=True)
        link = root / "bin" / "ninja"
        link.unlink(missing_ok=True)
        link.symlink_to(pathlib.Path(given.quench).resolve())
        engines = [("quench", link)] + [tuple(engine.split("=", 1)) for engine in given.ninja]
        print(f"load {os.getloadavg()[0]:.1f}; " + "; ".join(
            f"{name} {run(program, '--version')[1].strip()}" for name, program in engines), flush=True)
        if "cmake" in only:
            cmake(root, engines)
        if "meson" in only:
            meson(root, engines)
        if "gn" in only:
            gn(root, engines, given.gn)
        if "time" in only or "full" in only:
            timed(root, engines, given.runs, only)
    if FAILED:
        sys.exit(f"projects: {len(FAILED)} checks failed")


if __name__ == "__main__":
    main()
