#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the files of this directory with Pillow and NumPy: make.py [count [data directory]].

`count` is the number of resize cases (60 are committed; more for a longer check). With the data
directory of labelled pictures (see README.md) the numbers in pictures.txt are made too.
"""
import gzip
import os
import random
import struct
import sys
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def checksum(array):
    """Position-weighted sum of the bytes, modulo 2^64."""
    flat = np.ascontiguousarray(array, np.uint8).reshape(-1).astype(np.uint64)
    weights = np.arange(flat.size, dtype=np.uint64) % np.uint64(65521) + np.uint64(1)
    return int((flat * weights).sum(dtype=np.uint64))


def noise(seed, count):
    """The bytes that the tests make too: upper bytes of a linear congruential generator."""
    out = bytearray(count)
    x = seed
    for i in range(count):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = x >> 24
    return np.frombuffer(bytes(out), np.uint8)


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


def resize_cases(count):
    rng = random.Random(7)
    lines = []
    for seed in range(1, count + 1):
        name = rng.choice(["bilinear", "bicubic", "bilinear", "bicubic", "nearest"])
        channels = rng.choice([1, 3])
        w, h = rng.randint(1, 90), rng.randint(1, 90)
        nw, nh = rng.choice([(rng.randint(1, 120), rng.randint(1, 120)), (w, rng.randint(1, 60)),
                             (rng.randint(1, 60), h), (rng.randint(1, 9), rng.randint(1, 9))])
        pixels = noise(seed, w * h * channels)
        if seed % 3 == 0:  # hard edges: overshoot must be cut off
            pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(pixels.reshape((h, w, 3) if channels == 3 else (h, w)))
        out = np.asarray(image.resize((nw, nh), FILTERS[name]))
        head = " ".join(str(v) for v in out.reshape(-1)[:6])
        lines.append(f"{seed} {w} {h} {channels} {nw} {nh} {name} {checksum(out)} {head}")
    write("resize.txt", ("\n".join(lines) + "\n").encode())


def png(width, height, depth, color, rows, interlaced=False, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def picture(width, height):
    """A smooth picture with an edge, so that JPEG has something to get wrong."""
    y, x = np.mgrid[0:height, 0:width]
    red = x * 255 // width
    green = y * 255 // height
    blue = np.where((x // 5 + y // 7) % 2 == 0, 220, 30)
    return np.stack([red, green, blue], 2).astype(np.uint8)


def images():
    lines = []

    def note(name, array):
        array = np.asarray(array)
        channels = 1 if array.ndim == 2 else array.shape[2]
        lines.append(f"{name} {array.shape[1]} {array.shape[0]} {channels} {checksum(array)}")

    def save(name, image, **options):
        image.save(os.path.join(HERE, name), **options)

    base = Image.fromarray(picture(45, 31))
    save("color.jpg", base, quality=80)
    save("progressive.jpg", base, quality=70, progressive=True)
    save("grey.jpg", base.convert("L"), quality=80)
    save("cmyk.jpg", base.convert("CMYK"), quality=80)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.jpg", base, quality=80, exif=exif)
    save("color.png", base)
    save("palette.png", base.quantize(16))
    save("bits.png", base.convert("1"))
    for name in ("color.jpg", "progressive.jpg", "grey.jpg", "turned.jpg", "color.png"):
        note(name, Image.open(os.path.join(HERE, name)))
    note("palette.png", Image.open(os.path.join(HERE, "palette.png")).convert("RGB"))
    note("bits.png", Image.open(os.path.join(HERE, "bits.png")).convert("L"))

    alpha = Image.fromarray((np.arange(45 * 31).reshape(31, 45) % 256).astype(np.uint8))
    rgba = base.copy()
    rgba.putalpha(alpha)
    save("alpha.png", rgba)
    note("alpha.png", base)

    deep = (noise(5, 20 * 10 * 3 * 2).astype(np.uint16)[::2] * 256
            + noise(6, 20 * 10 * 3).astype(np.uint16)).reshape(10, 20, 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    write("deep.png", png(20, 10, 16, 2, rows))
    note("deep.png", (deep >> 8).astype(np.uint8))

    small = picture(13, 11)
    data = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                           (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = small[y0::dy, x0::dx]
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in part)
    write("interlaced.png", png(13, 11, 8, 2, data, interlaced=True))
    assert np.array_equal(np.asarray(Image.open(os.path.join(HERE, "interlaced.png"))), small)
    note("interlaced.png", small)
    write("images.txt", ("\n".join(lines) + "\n").encode())


def arrays():
    items = noise(11, 5 * 4 * 6 * 3).reshape(5, 4, 6, 3)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    path = os.path.join(HERE, "stored.npz")
    np.savez(path, images=items, labels=labels)
    np.savez_compressed(os.path.join(HERE, "packed.npz"), images=items, labels=labels)
    np.save(os.path.join(HERE, "floats.npy"), np.arange(24, dtype=np.float64).reshape(4, 2, 3) / 8)
    idx = struct.pack(">HBBIII", 0, 8, 3, 5, 4, 6) + items[:, :, :, 0].tobytes()
    write("items.idx", idx)
    write("items.idx.gz", gzip.compress(idx, mtime=0))
    write("labels.idx", struct.pack(">HBBI", 0, 0x0C, 1, 5) + labels.astype(">i4").tobytes())


def pictures(directory):
    import csv
    rows = list(csv.DictReader(open(os.path.join(directory, "labels.csv"))))
    total, grey, pixels = 0, 0, 0
    for row in rows:
        image = Image.open(os.path.join(directory, row["file"]))
        grey += image.mode == "L"
        array = np.asarray(image)
        pixels += array.shape[0] * array.shape[1]
        total = (total + checksum(array)) % 2**64
    lines = [f"all {len(rows)} {grey} {pixels} {total}"]
    chosen = [rows[0], rows[100], next(
        r for r in rows if Image.open(os.path.join(directory, r["file"])).mode == "L")]
    mean = np.array((0.485, 0.456, 0.406), np.float32)
    std = np.array((0.229, 0.224, 0.225), np.float32)
    for row in chosen:
        image = Image.open(os.path.join(directory, row["file"])).convert("RGB")
        w, h = image.size
        w, h = (256, int(256 * h / w)) if w < h else (int(256 * w / h), 256)
        for name in ("bilinear", "bicubic"):
            small = image.resize((w, h), FILTERS[name])
            left, top = round((w - 224) / 2), round((h - 224) / 2)
            small = small.crop((left, top, left + 224, top + 224))
            x = (np.asarray(small, np.float32) / 255 - mean) / std
            x = np.ascontiguousarray(x.transpose(2, 0, 1), np.float32).reshape(-1)
            at = np.arange(12) * 12345
            bits = " ".join(str(v) for v in x[at].view(np.uint32))
            lines.append(f"{row['file']} {name} {x.astype(np.float64).sum()!r} {bits}")
    write("pictures.txt", ("\n".join(lines) + "\n").replace("np.float64(", "").replace(
        ")", "").encode())


if __name__ == "__main__":
    resize_cases(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    images()
    arrays()
    if len(sys.argv) > 2:
        pictures(sys.argv[2])
