#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the example network on Fashion-MNIST and writes it as ONNX (opset 13).

Quench itself needs neither this script nor PyTorch: the result, network.onnx, is committed.
The script is here so that anyone can see how that file came to be, and make it again.

Needs: PyTorch 2.13 (its CPU build is enough), onnx, onnxruntime and numpy, and Debian's
dataset-fashion-mnist.
Use:   train.py [--data DIR] [--epochs N] [-o network.onnx]

One thread and a fixed seed: on one machine with one version of torch every run gives the same
weights; across versions and processors the last bits may differ, and so the weights.
"""
import argparse
import gzip
import hashlib
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

SEED = 20
# Mean and standard deviation of the training pixels after division by 255.
MEAN, STD = 0.2860, 0.3530


def read_idx(path):
    """An IDX file (gzip) as an array: two zero bytes, type 8 (uint8), rank, big-endian sizes, data."""
    with gzip.open(path) as file:
        content = file.read()
    assert content[:3] == b"\0\0\x08", path + " is not an IDX file of bytes"
    rank = content[3]
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder, part):
    """Normalised images [N, 1, 28, 28] float32 and labels [N]; part is "train" or "t10k"."""
    images = read_idx(f"{folder}/{part}-images-idx3-ubyte.gz").astype(numpy.float32)
    labels = read_idx(f"{folder}/{part}-labels-idx1-ubyte.gz").astype(numpy.int64)
    images = (images / 255 - MEAN) / STD
    return torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(self, inputs, outputs, kernel=3, stride=1, groups=1, relu=True):
        parts = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*parts, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut around them; the shape stays."""

    def __init__(self, channels):
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, relu=False)

    def forward(self, x):
        return functional.relu(x + self.second(self.first(x)))


class Network(nn.Module):
    """[N, 1, 28, 28] -> logits [N, 10], about 6.5 million multiplications an image."""

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(1, 16)  # 28 x 28
        self.down = ConvNorm(16, 32, stride=2)  # 14 x 14
        self.residual = Residual(32)
        self.depthwise = ConvNorm(32, 32, stride=2, groups=32)  # 7 x 7
        self.pointwise = ConvNorm(32, 64, kernel=1)
        self.last = ConvNorm(64, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x):
        x = self.residual(self.down(self.stem(x)))
        x = self.last(self.pointwise(self.depthwise(x)))
        return self.classifier(torch.flatten(self.pool(x), 1))


def augmented(images, random):
    """Half of the images mirrored, and the batch as a whole shifted by up to one pixel."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=random) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    dy, dx = torch.randint(-1, 2, (2,), generator=random).tolist()
    # Shifted in from outside: black, which is -MEAN / STD after normalisation.
    padded = functional.pad(images, (1, 1, 1, 1), value=-MEAN / STD)
    return padded[:, :, 1 + dy : 29 + dy, 1 + dx : 29 + dx]


def accuracy(network, images, labels):
    """Share of images whose largest logit is the label's, in percent."""
    network.eval()
    with torch.no_grad():
        hits = sum(
            (network(images[i : i + 500]).argmax(1) == labels[i : i + 500]).sum().item()
            for i in range(0, len(images), 500)
        )
    return 100 * hits / len(images)


def train(network, images, labels, epochs, batch=128):
    """SGD with Nesterov momentum; the rate rises, then falls to nearly zero."""
    random = torch.Generator().manual_seed(SEED)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.15, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        started, total = time.process_time(), 0.0
        network.train()
        order = torch.randperm(len(images), generator=random)
        # The last, shorter batch is left out; which images are in it differs each epoch.
        for i in range(0, len(images) - batch + 1, batch):
            chosen = order[i : i + batch]
            logits = network(augmented(images[chosen], random))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.process_time() - started
        mean = total / (len(images) // batch)
        print(f"epoch {epoch + 1}/{epochs}: loss {mean:.4f}, {seconds:.0f} CPU s", flush=True)


def export(network, path):
    """Writes the network with its BatchNormalization nodes: folding them is Quench's work."""
    network.eval()
    torch.onnx.export(
        network, torch.zeros(1, 1, 28, 28), path, opset_version=13, dynamo=False,
        input_names=["input"], output_names=["logits"], do_constant_folding=False,
        # PRESERVE keeps Conv and BatchNormalization apart; the network itself is in eval mode.
        training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip


def recheck(path, images, labels):
    """Accuracy in percent of the written file, image by image, in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    hits = 0
    for image, label in zip(images.numpy(), labels.tolist()):
        logits = session.run(["logits"], {"input": image[None]})[0]
        hits += int(logits.argmax()) == label
    return 100 * hits / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("-o", "--output", default="network.onnx")
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    network = Network()
    print(sum(p.numel() for p in network.parameters()), "parameters", flush=True)
    train(network, *load(options.data, "train"), options.epochs)
    images, labels = load(options.data, "t10k")
    print(f"test accuracy in PyTorch: {accuracy(network, images, labels):.2f} %")
    export(network, options.output)
    print(f"test accuracy in ONNX Runtime: {recheck(options.output, images, labels):.2f} %")
    with open(options.output, "rb") as file:
        content = file.read()
    print(f"{options.output}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
