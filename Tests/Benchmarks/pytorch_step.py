#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The PyTorch side of `training_step.py`: the same networks, numbers and step, on demand.

    pytorch_step.py NETWORK BATCH THREADS fixed|lsq FILE nchw|channels_last

FILE is what `TrainingStep` wrote: input, teacher's logits, then weight and bias of each layer in
order. Answers the same lines of standard input: step, memory.
"""
import resource
import sys
import time

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import numpy
import torch
from torch import nn
from torch.nn import functional

name, batch, threads, mode, path, layout = sys.argv[1:]
batch, threads = int(batch), int(threads)
torch.set_num_threads(threads)
data = torch.from_numpy(numpy.fromfile(path, dtype=numpy.float32))
position = 0


def take(*shape):
    global position
    size = int(numpy.prod(shape))
    position += size
    return data[position - size:position].reshape(shape).clone()


class Layer(nn.Module):
    """A convolution, or with kernel 0 a linear layer, with fake-quantized input and weight."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.kernel, self.stride, self.groups = kernel, stride, groups
        shape = (outputs, inputs // groups) + ((kernel, kernel) if kernel else ())
        self.weight = nn.Parameter(take(*shape))
        self.bias = nn.Parameter(take(outputs))
        scale = self.weight.detach().abs().flatten(1).amax(1) / 127
        step = torch.tensor([6 / 255])
        self.learned = mode == "lsq"
        if self.learned:
            self.weight_scale, self.input_scale = nn.Parameter(scale), nn.Parameter(step)
            self.weight_factor = (self.weight.numel() / outputs * 127) ** -0.5
            self.weight_zero, self.input_zero = torch.zeros(outputs), torch.zeros(1)
        else:
            self.weight_scale, self.input_scale = scale, step[0]
            self.weight_zero = torch.zeros(outputs, dtype=torch.int32)
            self.input_zero = torch.tensor(0, dtype=torch.int32)

    def forward(self, x):
        if self.learned:
            factor = (x[0].numel() * 255) ** -0.5
            x = torch._fake_quantize_learnable_per_tensor_affine(
                x, self.input_scale, self.input_zero, 0, 255, factor)
            w = torch._fake_quantize_learnable_per_channel_affine(
                self.weight, self.weight_scale, self.weight_zero, 0, -127, 127, self.weight_factor)
        else:
            x = torch.fake_quantize_per_tensor_affine(
                x, self.input_scale, self.input_zero, 0, 255)
            w = torch.fake_quantize_per_channel_affine(
                self.weight, self.weight_scale, self.weight_zero, 0, -127, 127)
        if not self.kernel:
            return functional.linear(x, w, self.bias)
        return functional.conv2d(
            x, w, self.bias, self.stride, self.kernel // 2, groups=self.groups)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.inner = Layer(inputs, outputs, 3, stride)
        self.outer = Layer(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.beside = None if same else Layer(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.outer(functional.relu(self.inner(x)))
        return functional.relu(y + (self.beside(x) if self.beside else x))


class ResNet(nn.Module):
    def __init__(self, stem, groups, blocks, classes):
        super().__init__()
        self.stem, channels = stem, groups[0]
        self.pools, layers = stem.stride == 2, []
        for group, outputs in enumerate(groups):
            for block in range(blocks):
                layers.append(Residual(channels, outputs, 2 if group and not block else 1))
                channels = outputs
        self.blocks = nn.Sequential(*layers)
        self.head = Layer(channels, classes, 0)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        if self.pools:
            x = functional.max_pool2d(x, 3, 2, 1)
        return self.head(self.blocks(x).mean((2, 3)))


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, channels, self.blocks = Layer(3, 32, 3, 2), 32, nn.ModuleList()
        for expansion, outputs, repeats, first in (
                (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                (6, 160, 3, 2), (6, 320, 1, 1)):
            for block in range(repeats):
                hidden = channels * expansion
                block_layers = [Layer(channels, hidden, 1)] if expansion > 1 else []
                block_layers.append(Layer(hidden, hidden, 3, 1 if block else first, hidden))
                block_layers.append(Layer(hidden, outputs, 1))
                self.blocks.append(nn.ModuleList(block_layers))
                channels = outputs
        self.last, self.head = Layer(channels, 1280, 1), Layer(1280, 1000, 0)

    def forward(self, x):
        x = functional.relu6(self.stem(x))
        for block in self.blocks:
            y = x
            for layer in block[:-1]:
                y = functional.relu6(layer(y))
            y = block[-1](y)
            x = x + y if x.shape == y.shape else y
        return self.head(functional.relu6(self.last(x)).mean((2, 3)))


size, classes = (32, 10) if name == "resnet20" else (224, 1000)
x, teacher = take(batch, 3, size, size), take(batch, classes)
if name == "resnet18":
    network = ResNet(Layer(3, 64, 7, 2), (64, 128, 256, 512), 2, classes)
elif name == "resnet20":
    network = ResNet(Layer(3, 16, 3), (16, 32, 64), 3, classes)
else:
    network = MobileNetV2()
assert position == data.numel(), "the two sides do not build the same network"
del data
if layout == "channels_last":
    x = x.to(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)


def step():
    optimizer.zero_grad(set_to_none=True)
    shares = functional.log_softmax(network(x), 1)
    loss = functional.kl_div(
        shares, functional.log_softmax(teacher, 1), reduction="batchmean", log_target=True)
    loss.backward()
    optimizer.step()
    return loss.item()


print("ready", torch.__version__, flush=True)
for line in sys.stdin:
    if line.strip() == "step":
        begin = time.perf_counter()
        loss = step()
        print(time.perf_counter() - begin, loss, flush=True)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, before * 1024, flush=True)
