#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unpacks Fashion-MNIST (Debian's package dataset-fashion-mnist, MIT) into PNG files.

    unpack.py FOLDER

500 of the training images go to FOLDER/calibration, 1,000 of the test images to
FOLDER/evaluation, each in a folder a class. Only Python's standard library is used.
"""

import gzip
import pathlib
import struct
import sys
import zlib

SOURCE = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle-boot"]


def read_idx(path, dimensions):
    """The bytes of an IDX file after checking its header."""
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    magic, *extents = struct.unpack_from(f">{1 + dimensions}I", data)
    if magic != 0x0800 + dimensions:
        sys.exit(f"unpack.py: {path} is no IDX file of bytes with {dimensions} dimensions")
    return extents, data[4 * (1 + dimensions):]


def find(name):
    for path in (SOURCE / f"{name}.gz", SOURCE / name):
        if path.exists():
            return path
    sys.exit(f"unpack.py: {SOURCE}/{name}.gz is missing: apt-get install dataset-fashion-mnist")


def png(pixels, width, height):
    """A grey 8-bit PNG file."""
    def chunk(kind, body):
        return (struct.pack(">I", len(body)) + kind + body
                + struct.pack(">I", zlib.crc32(kind + body)))
    rows = b"".join(b"\0" + pixels[y * width:(y + 1) * width] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def unpack(part, count, folder):
    (total, height, width), images = read_idx(find(f"{part}-images-idx3-ubyte"), 3)
    _, labels = read_idx(find(f"{part}-labels-idx1-ubyte"), 1)
    for index in range(min(count, total)):
        # The number leads, so that folders named by class sort in the order of the labels.
        label = labels[index]
        path = folder / f"{label}-{CLASSES[label]}" / f"{index:05}.png"
        pixels = images[index * width * height:(index + 1) * width * height]
        content = png(pixels, width, height)
        if path.exists() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    unpack("train", 500, folder / "calibration")
    unpack("t10k", 1000, folder / "evaluation")


main()
