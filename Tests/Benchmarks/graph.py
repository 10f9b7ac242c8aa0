#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a project of a given size to measure build engines with.

The shape is that of a C program: compiled files with discovered headers, libraries of 50 objects,
programs of 10 libraries, an alias for each and one for all. Commands are shell built-ins, so that
a full build measures the engine and the start of processes.

    graph.py DIRECTORY EDGES [ALIASES]

ALIASES more edges run nothing: each gives a name to an object and a header, a thousand of them have
a name together. So a graph of a million edges is made and built in minutes.
"""
import os
import sys

HEADERS_PER_FILE = 30


def main(folder, edges, aliases=0):
    libraries = max(1, edges // 52)
    programs = max(1, libraries // 10)
    files = edges - libraries - 2 * programs - 1
    headers = max(HEADERS_PER_FILE + 1, files // 20)
    text = [
        "rule compile\n"
        "  command = read -r l < $in; echo \"$$l $flags\" > $out; cat $in.dep > $out.d\n"
        "  depfile = $out.d\n  deps = gcc\n"
        "rule join\n  command = cat $in > $out\n"
    ]
    for index in range(headers):
        put(folder, f"include/h{index}.h", f"#define H{index}\n")
    objects = []
    for index in range(files):
        name = f"src/{index // 200}/f{index}"
        out = f"obj/{index // 200}/f{index}.o"
        used = ((index * 7 + step * (index % 5 + 1)) % headers for step in range(HEADERS_PER_FILE))
        put(folder, name + ".c", f"int f{index};\n" + "".join(f"// {k}\n" for k in range(20)))
        put(folder, name + ".c.dep",
            f"{out}: {name}.c " + " ".join(f"include/h{h}.h" for h in sorted(set(used))) + "\n")
        text.append(f"build {out}: compile {name}.c\n  flags = -DN={index} -O2\n")
        objects.append(out)
    parts = []
    for index in range(libraries):
        members = " ".join(objects[index::libraries])
        text.append(f"build lib/l{index}.a: join {members}\n")
        parts.append(f"lib/l{index}.a")
    for index in range(programs):
        members = " ".join(parts[index::programs])
        text.append(f"build bin/p{index}: join {members}\nbuild p{index}: phony bin/p{index}\n")
    names = [f"p{index}" for index in range(programs)]
    for index in range(aliases):
        text.append(f"build alias/{index}: phony {objects[index % files]} "
                    f"include/h{index // files % headers}.h\n")
    for start in range(0, aliases, 1000):
        members = " ".join(f"alias/{i}" for i in range(start, min(start + 1000, aliases)))
        text.append(f"build aliases/{start // 1000}: phony {members}\n")
        names.append(f"aliases/{start // 1000}")
    text.append("build all: phony " + " ".join(names) + "\ndefault all\n")
    put(folder, "build.ninja", "".join(text))
    # What a build must look at, for the floor: everything but the lists that commands copy.
    named = [f"include/h{index}.h" for index in range(headers)]
    named += [name for out in objects for name in (out.replace("obj/", "src/")[:-1] + "c", out)]
    named += parts + [f"bin/p{index}" for index in range(programs)]
    put(folder, "files.txt", "".join(name + "\n" for name in named))


def put(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
