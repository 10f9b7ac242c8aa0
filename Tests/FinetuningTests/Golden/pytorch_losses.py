# SPDX-License-Identifier: Apache-2.0
"""Writes pytorch_losses.json: how PyTorch trains three small networks.

    python3 -m venv venv && venv/bin/pip install numpy torch==2.13.0
    venv/bin/python pytorch_losses.py > pytorch_losses.json

Weights, pictures and labels come from a counter that the Swift test repeats, so the file holds only
shapes, seeds and losses. Everything is computed in float64 with one thread: the digits are PyTorch's
own and not those of one build's float32 sums. Layer inputs, weights and biases are fake-quantized
where `quantized` says so, the scales standing still.
"""

import json
import math

import numpy
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
BATCH, STEPS, CLASSES = 8, 6, 5


def numbers(count, seed, low=-1.0, high=1.0):
    """SplitMix64's finalizer over a counter, rounded to float32."""
    with numpy.errstate(over="ignore"):
        x = numpy.arange(count, dtype=numpy.uint64)
        x += numpy.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x ^= x >> numpy.uint64(31)
    units = (x >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53
    return (low + (high - low) * units).astype(numpy.float32).astype(numpy.float64)


class Network:
    """Parameters by name, and where the fake quantizers of the inputs stand."""

    def __init__(self, name, picture, parameters):
        self.name, self.picture = name, picture
        self.table = []
        self.parameters = {}
        for index, (key, shape, bound, center) in enumerate(parameters):
            seed = 100 + index
            self.table.append(
                {"name": key, "shape": shape, "seed": seed, "low": center - bound,
                 "high": center + bound})
            count = math.prod(shape)
            values = numbers(count, seed, center - bound, center + bound).reshape(shape)
            self.parameters[key] = torch.tensor(values)
        self.initial = dict(self.parameters)
        # Tensor name to (scale, zero point); filled by a float pass, as calibration would.
        self.activations = None
        self.ranges = {}
        self.inputs = {}

    def read(self, tensor, x):
        """What a layer reads."""
        low, high = min(0.0, float(x.detach().min())), max(0.0, float(x.detach().max()))
        self.ranges.setdefault(tensor, (low, high))
        if self.activations is None:
            return x
        scale, zero = self.activations[tensor]
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)

    def scales(self, key, axis):
        start = self.initial[key]
        others = [d for d in range(start.dim()) if d != axis]
        return start.abs().amax(others).float() / numpy.float32(127)

    def weight(self, key, axis=0):
        w = self.parameters[key]
        if self.activations is None:
            return w
        scales = self.scales(key, axis)
        zeros = torch.zeros(scales.shape, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(w, scales, zeros, axis, -127, 127)

    def bias(self, tensor, key, axis=0):
        """Rounded to INT32 at the product of the two scales, straight through."""
        b = self.parameters[key + ".b"]
        if self.activations is None:
            return b
        scale = numpy.float32(self.activations[tensor][0])
        steps = (self.scales(key + ".w", axis) * scale).double()
        return b + (torch.round(b / steps) * steps - b).detach()

    def conv(self, tensor, x, key, **how):
        return F.conv2d(
            self.read(tensor, x), self.weight(key + ".w"), self.bias(tensor, key), **how)

    def product(self, tensor, x, key):
        """MatMul with [inputs, outputs], and Add."""
        return self.read(tensor, x) @ self.weight(key + ".w", 1) + self.bias(tensor, key, 1)

    def gemm(self, tensor, x, key):
        return F.linear(self.read(tensor, x), self.weight(key + ".w"), self.bias(tensor, key))


class Residual(Network):
    """A stage of ResNet: stride 2, a 1x1 shortcut, an identity shortcut, mean, Gemm."""

    def __init__(self):
        super().__init__("residual", [3, 9, 7], [
            ("stem.w", [6, 3, 3, 3], 0.33, 0), ("stem.b", [6], 0.1, 0),
            ("a1.w", [10, 6, 3, 3], 0.23, 0), ("a1.b", [10], 0.1, 0),
            ("a2.w", [10, 10, 3, 3], 0.18, 0), ("a2.b", [10], 0.1, 0),
            ("cut.w", [10, 6, 1, 1], 0.7, 0), ("cut.b", [10], 0.1, 0),
            ("b1.w", [10, 10, 3, 3], 0.18, 0), ("b1.b", [10], 0.1, 0),
            ("b2.w", [10, 10, 3, 3], 0.18, 0), ("b2.b", [10], 0.1, 0),
            ("fc.w", [CLASSES, 10], 0.55, 0), ("fc.b", [CLASSES], 0.1, 0)])

    def forward(self, x):
        s = F.relu(self.conv("input", x, "stem", padding=1))
        a = F.relu(self.conv("stem.r", s, "a1", stride=2, padding=1))
        a = self.conv("a1.r", a, "a2", padding=1)
        a = F.relu(a + self.conv("stem.r", s, "cut", stride=2))
        b = F.relu(self.conv("a.r", a, "b1", padding=1))
        b = F.relu(self.conv("b1.r", b, "b2", padding=1) + a)
        return self.gemm("flat", b.mean((2, 3)), "fc")


class Mobile(Network):
    """MobileNet's blocks: depthwise with stride 1 and 2, ReLU6, pooling, Gemm."""

    def __init__(self):
        super().__init__("mobile", [3, 12, 10], [
            ("stem.w", [8, 3, 3, 3], 0.9, 0), ("stem.b", [8], 0.5, 0),
            ("d1.w", [8, 1, 3, 3], 1.2, 0), ("d1.b", [8], 0.3, 0),
            ("p1.w", [19, 8, 1, 1], 0.9, 0), ("p1.b", [19], 0.3, 0),
            ("d2.w", [19, 1, 5, 5], 0.6, 0), ("d2.b", [19], 0.3, 0),
            ("p2.w", [12, 19, 1, 1], 0.5, 0), ("p2.b", [12], 0.2, 0),
            ("fc.w", [CLASSES, 12], 0.5, 0), ("fc.b", [CLASSES], 0.1, 0)])

    def forward(self, x):
        x = F.relu6(self.conv("input", x, "stem", padding=1))
        x = F.max_pool2d(x, 2)
        x = F.relu6(self.conv("stem.p", x, "d1", padding=1, groups=8))
        x = F.relu6(self.conv("d1.r", x, "p1"))
        x = F.relu6(self.conv("p1.r", x, "d2", stride=2, padding=2, groups=19))
        x = self.conv("d2.r", x, "p2")
        x = F.avg_pool2d(x, (3, 3))
        return self.gemm("flat", x.flatten(1), "fc")


class Attention(Network):
    """A transformer's block over patches: two heads, LayerNorm, GELU."""

    def __init__(self):
        d, h = 12, 20
        super().__init__("attention", [3, 8, 12], [
            ("patch.w", [d, 3, 4, 4], 0.25, 0), ("patch.b", [d], 0.1, 0),
            ("place", [1, 6, d], 0.3, 0),
            ("n1.w", [d], 0.3, 1), ("n1.b", [d], 0.1, 0),
            ("q.w", [d, d], 0.5, 0), ("q.b", [d], 0.1, 0),
            ("k.w", [d, d], 0.5, 0), ("k.b", [d], 0.1, 0),
            ("v.w", [d, d], 0.5, 0), ("v.b", [d], 0.1, 0),
            ("o.w", [d, d], 0.5, 0), ("o.b", [d], 0.1, 0),
            ("n2.w", [d], 0.3, 1), ("n2.b", [d], 0.1, 0),
            ("up.w", [d, h], 0.5, 0), ("up.b", [h], 0.1, 0),
            ("down.w", [h, d], 0.4, 0), ("down.b", [d], 0.1, 0),
            ("fc.w", [CLASSES, d], 0.5, 0), ("fc.b", [CLASSES], 0.1, 0)])

    def forward(self, x):
        p, d, heads = self.parameters, 12, 2
        x = self.conv("input", x, "patch", stride=4)
        x = x.flatten(2).transpose(1, 2) + p["place"]
        n = F.layer_norm(x, [d], p["n1.w"], p["n1.b"], 1e-5)

        def split(key):
            y = self.product("n1", n, key)
            return y.reshape(y.shape[0], 6, heads, d // heads).transpose(1, 2)

        q, k, v = split("q"), split("k"), split("v")
        a = torch.softmax(q @ k.transpose(2, 3) * 0.5, -1) @ v
        a = a.transpose(1, 2).reshape(x.shape[0], 6, d)
        x = x + self.product("heads", a, "o")
        n = F.layer_norm(x, [d], p["n2.w"], p["n2.b"], 1e-5)
        x = x + self.product("gelu", F.gelu(self.product("n2", n, "up")), "down")
        return self.gemm("mean", x.mean(1), "fc")


def batch(network, step):
    """Two batches by turns."""
    count = math.prod(network.picture) * BATCH
    pictures = numbers(count, 1000 + step % 2, -2, 2).reshape([BATCH] + network.picture)
    labels = [(7 * i * i + 3 * i + step % 2) % CLASSES for i in range(BATCH)]
    return torch.tensor(pictures), torch.tensor(labels)


def train(network, make, steps=STEPS):
    network.parameters = {
        key: value.clone().requires_grad_() for key, value in network.initial.items()}
    # Decay pulls factors, not addends.
    addends = [k for k in network.parameters if k.endswith(".b") or k == "place"]
    optimizer = make([
        {"params": [v for k, v in network.parameters.items() if k not in addends],
         "weight_decay": 0.01},
        {"params": [network.parameters[k] for k in addends], "weight_decay": 0.0}])
    losses, slopes = [], None
    for step in range(steps):
        pictures, labels = batch(network, step)
        loss = F.cross_entropy(network.forward(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        if slopes is None:
            slopes = {k: float(v.grad.norm()) for k, v in network.parameters.items()}
        optimizer.step()
        losses.append(loss.item())
    return losses, slopes


def calibrate(network):
    """Scales of the float network's ranges over the first batch, int8 with a zero point."""
    network.ranges = {}
    network.parameters = dict(network.initial)
    network.forward(batch(network, 0)[0])
    found = {}
    for tensor, (low, high) in network.ranges.items():
        scale = float(numpy.float32((high - low) / 255))
        found[tensor] = (scale, max(-128, min(127, round(-128 - low / scale))))
    return found


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


def adam(groups):
    return torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8)


result = {"madeWith": f"PyTorch {torch.__version__}, float64", "batch": BATCH, "classes": CLASSES,
          "networks": []}
for network in [Residual(), Mobile(), Attention()]:
    entry = {"name": network.name, "picture": network.picture, "parameters": network.table}
    entry["momentum"], entry["gradientNorms"] = train(network, sgd)
    entry["adamW"], _ = train(network, adam)
    network.activations = calibrate(network)
    entry["activations"] = {
        key: {"scale": scale, "zeroPoint": zero}
        for key, (scale, zero) in network.activations.items()}
    (entry["quantizedLoss"],), entry["quantizedNorms"] = train(network, sgd, 1)
    result["networks"].append(entry)
print(json.dumps(result, indent=1, sort_keys=True))
