# SPDX-License-Identifier: Apache-2.0
"""Prints what TinyModels.network() computes in INT8; needs numpy only.

Written from the definitions (QuantizeLinear: float32 division, half to even; int64 sums; bias
rint(b / (s_x * s_w))), not from the Swift code. Last made with numpy 2.x: golden values of QDQRunTests.
"""
import numpy as np


def numbers(count, seed):
    i = np.arange(count, dtype=np.int64)
    return (((i + 1) * 7919 + seed * 104729) % 65 - 32).astype(np.float32) / np.float32(32)


def codes(x, s, z):
    return np.clip(np.rint(x / np.float32(s)) + z, -128, 127).astype(np.int64) - z


def layer(x, s, z, w, b, product, per_channel):
    flat = np.abs(w.reshape(w.shape[0], -1)).max(axis=1).astype(np.float64)
    if not per_channel:
        flat = np.full_like(flat, flat.max())
    sw = (flat / 127).astype(np.float32)
    qw = np.rint(w / sw.reshape(-1, *[1] * (w.ndim - 1))).astype(np.int64)
    step = (np.float32(s) * sw).astype(np.float64)
    total = product(codes(x, s, z), qw)
    shape = (-1,) + (1,) * (total.ndim - 1)
    total = total + np.rint(b.astype(np.float64) / step).astype(np.int64).reshape(shape)
    return (total * step.reshape(shape)).astype(np.float32)


def conv(group):
    def product(x, w):
        out, inner = w.shape[:2]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        y = np.zeros((out, 6, 6), np.int64)
        for o in range(out):
            first = o // (out // group) * inner
            for i in range(inner):
                for ky in range(3):
                    for kx in range(3):
                        y[o] += w[o, i, ky, kx] * padded[first + i, ky:ky + 6, kx:kx + 6]
        return y
    return product


x = (numbers(144, 9) * np.float32(1.9)).reshape(4, 6, 6)
c = layer(x, 0.015625, 3, numbers(216, 1).reshape(6, 4, 3, 3), numbers(6, 2), conv(1), True)
r = np.maximum(c, 0)
d = layer(r, 0.03, -128, numbers(54, 3).reshape(6, 1, 3, 3), numbers(6, 4), conv(6), True)
f = (d + r).reshape(6, 36).astype(np.float64).mean(axis=1).astype(np.float32)
y = layer(f, 0.025, -20, numbers(30, 5).reshape(5, 6), numbers(5, 6), lambda a, w: w @ a, False)
print([float(v) for v in y])
