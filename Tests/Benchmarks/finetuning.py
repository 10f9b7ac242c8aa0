#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what fine-tuning wins back, and prints tables. Judges nothing, gates nothing.

    finetuning.py --quench FILE [--data FOLDER] [--work FOLDER] [--groups w8,w4,...] [--list]

FOLDER of the data holds models/, cifar10/, imagenet/ and labels.csv as models.json there describes
them; default: $QUENCH_SHARED/data, else ../shared/data beside the repository. Fashion-MNIST comes
from Debian's package dataset-fashion-mnist. What is not there is skipped, and the tables say so.
ONNX Runtime is found as Quench finds it (QUENCH_ONNXRUNTIME).

Each row trains with `quench finetune`, quantizes and evaluates by hand on the files of a build, all
layers INT8. A row that is done is kept in WORK/rows and not run again unless its settings changed,
so the whole may be stopped and started. Rows in groups:

    choose  settings tried, judged on pictures that no other group evaluates: how the settings of
            the other groups were chosen
    w8      8-bit weights, recipe auto, with a control that trains without fake quantization
    w4      4-bit weights by loss, three seeds each, with such a control
    tensor  4-bit weights, one scale a tensor beside one a channel
    mobile  MobileNetV1 0.25, one scale a tensor, distilled on its 120 calibration pictures
    scales  scales released from the first step or after 80 %
"""
import argparse
import array
import ast
import datetime
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
FASHION = "/usr/share/datasets/fashion-mnist"

NORMAL = "{scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"


def cifar(file, weights):
    """The keys of a CIFAR network: 500 pictures calibrate, 4,000 train, 1,000 others evaluate."""
    return f"""
    model: data/models/{file}
    inputs: {{input: [1, 3, 32, 32]}}
    calibrate: {{weights: {weights}}}
    data:
      calibration: {{arrays: data/cifar10/train4000.npz, images: images, limit: 500}}
      evaluation: {{arrays: data/cifar10/test1000.npz, images: images, labels: labels}}
    preprocess: [{{normalize: {NORMAL}}}, {{layout: NCHW}}]
    finetune:
      enabled: true
      data: {{arrays: data/cifar10/train4000.npz, images: images, labels: labels}}
"""


PROJECTS = {
    "resnet20": cifar("resnet20_cifar10.onnx", "target"),
    "resnet20-tensor": cifar("resnet20_cifar10.onnx", "perTensor"),
    "resnet56": cifar("resnet56_cifar10.onnx", "target"),
    "resnet56-tensor": cifar("resnet56_cifar10.onnx", "perTensor"),
    "fashion": """
    model: fashion.onnx
    inputs: {input: [1, 1, 28, 28]}
    data:
      calibration: {arrays: fashion/train-images-idx3-ubyte.gz, limit: 500}
      evaluation: {arrays: fashion/t10k-images-idx3-ubyte.gz, labels: fashion/t10k-labels-idx1-ubyte.gz}
    preprocess:
      - channels: grey
      - normalize: {scale: 0.00392156863, mean: [0.2860], std: [0.3530]}
      - layout: NCHW
    finetune:
      enabled: true
      data: {arrays: fashion/train-images-idx3-ubyte.gz, labels: fashion/train-labels-idx1-ubyte.gz, limit: 12000}
""",
    "mobilenet-tensor": """
    model: data/models/mobilenet_v1_025.onnx
    inputs: {input: [1, 3, 224, 224]}
    calibrate: {weights: perTensor}
    data:
      calibration: {list: data/labels.csv, where: {split: calibration}, root: data}
      evaluation: {list: data/labels.csv, where: {split: evaluation}, root: data, labels: data/labels.csv, labelOffset: 1}
    preprocess:
      - resize: {shortSide: 256, filter: bilinear}
      - centerCrop: [224, 224]
      - normalize: {scale: 0.00392156862745098, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
      - layout: NCHW
    finetune:
      enabled: true
      data: {list: data/labels.csv, where: {split: calibration}, root: data, labelOffset: 1}
""",
}


class Row:
    """One training run and what it is compared with."""

    def __init__(self, group, network, name, settings, seed=None, dev=False, kind="qat", few=0):
        self.group, self.network, self.name, self.seed = group, network, name, seed
        self.settings = dict(settings) if seed is None else dict(settings, seed=seed)
        # dev: evaluated on the pictures for choosing, and on no others.
        self.dev = dev
        # qat; ptq: no training; control: trained without fake quantization, then PTQ.
        self.kind = kind
        # Only the first so many training samples.
        self.few = few

    @property
    def key(self):
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return f"{self.group}/{self.network}/{self.name}{seed}"

    @property
    def folder(self):
        plain = "".join(c if c.isalnum() or c in "./-" else "-" for c in self.key)
        while "--" in plain:
            plain = plain.replace("--", "-")
        return "rows/" + plain


class Diverged(Exception):
    """Training ended because the loss ran away."""


class Bench:
    """The work folder: builds of the networks, and the rows that are done."""

    def __init__(self, quench, data, work, threads):
        self.quench, self.work, self.threads = os.path.abspath(quench), os.path.abspath(work), threads
        self.skipped = []
        os.makedirs(self.work, exist_ok=True)
        self.link("data", data)
        self.link("fashion", FASHION)
        self.link("fashion.onnx", os.path.join(ROOT, "Examples", "quickstart", "network.onnx"))
        here = {name: text for name, text in PROJECTS.items() if self.is_there(name)}
        self.skipped = sorted(set(PROJECTS) - set(here))
        self.write("quench.yaml", "quench: 1\ndefaults:\n"
                   "  target: {soc: Ascend310P3, compiler: host}\n"
                   "  precision: {maxFP16Share: 0}\nmodels:\n"
                   + "".join(f"  {name}:{text}" for name, text in here.items()))
        self.networks = list(here)
        self.built = set()

    # Samples are named by relative paths, so that which ones judge does not depend on the machine.
    def link(self, name, target):
        path = os.path.join(self.work, name)
        if os.path.lexists(path):
            os.remove(path)
        if target and os.path.exists(target):
            os.symlink(os.path.abspath(target), path)

    def is_there(self, network):
        words = PROJECTS[network].replace("{", " ").replace("}", " ").replace(",", " ").split()
        return all(os.path.exists(self.path(word)) for word in words
                   if word.startswith(("data/", "fashion/", "fashion.onnx")))

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path) or read(path) != text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def call(self, arguments, folder=None, log=None):
        """Runs Quench; returns its exit code and what it said."""
        done = subprocess.run([self.quench, *arguments], cwd=folder or self.work,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode("utf-8", "replace")
        if log:
            with open(log, "a", encoding="utf-8") as file:
                file.write("quench " + " ".join(arguments) + "\n" + text)
        return done.returncode, text

    def must(self, arguments, folder=None, log=None):
        code, text = self.call(arguments, folder, log)
        if code == 1 and "training diverged" in text:
            raise Diverged(text.split("training diverged", 1)[1].splitlines()[0].strip())
        if code != 0:
            raise RuntimeError(f"quench {' '.join(arguments)} ended with {code}:\n{text[-2000:]}")
        return text

    def build(self, network, folder=None):
        """PTQ by the pipeline: scales and corrected biases."""
        if (network, folder) in self.built:
            return
        # Under the name `quench`, by which the pipeline's own commands call it.
        self.must(["build", f"build/{network}/corrected.onnx"], folder)
        self.built.add((network, folder))

    # MARK: sets of pictures

    def samples(self, network, which):
        """The list of the pictures of a set; which: train, eval, jpeg or dev."""
        base = network.split("-")[0]
        settings = f".quench/settings/{network}"
        if which == "train":
            return f"{settings}/finetune.samples"
        if which == "eval":
            return f"{settings}/evaluation.samples"
        if base.startswith("resnet"):
            array_path = "data/cifar10/test1000_jpeg.npz"
            labels = npy(zipfile.ZipFile(self.path(array_path)).read("labels.npy"))
            lines = [f"{array_path}#images:{i}\t{label}" for i, label in enumerate(labels)]
        elif base == "fashion":
            # 2,000 of the 60,000 training pictures that none of the rows trains on.
            labels = idx_labels(os.path.join(FASHION, "train-labels-idx1-ubyte.gz"))
            lines = [f"fashion/train-images-idx3-ubyte.gz#{i}\t{labels[i]}"
                     for i in range(20000, 22000)]
        else:
            return None
        return os.path.relpath(self.write(f"sets/{base}-{which}.samples", "\n".join(lines) + "\n"),
                               self.work)

    # MARK: rows

    def result(self, row):
        """What an earlier run of the row with the same settings found."""
        path = self.path(row.folder, "result.json")
        result = json.loads(read(path)) if os.path.exists(path) else None
        wanted = {"settings": row.settings, "kind": row.kind, "few": row.few}
        return result if result and {key: result[key] for key in wanted} == wanted else None

    def run(self, row):
        known = self.result(row)
        if known:
            return known
        folder = self.path(row.folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.build(row.network)
        started = time.time()
        relative = os.path.relpath(folder, self.work)
        log = os.path.join(folder, "log")
        report = None
        if row.kind == "control":
            start = self.control(row, relative, log)
            report = start.pop("report")
        else:
            start = {"folder": f"build/{row.network}", "model": "corrected.onnx"}
        options = dict(row.settings)
        if row.kind in ("ptq", "control"):
            options = {"epochs": 1, "learningRate": 0, "scaleLearningRate": 0}
            if "weightBits" in row.settings:
                options["weightBits"] = row.settings["weightBits"]
        try:
            trained = self.train(row, relative, log, start, options,
                                 few=40 if row.kind in ("ptq", "control") else row.few)
        except Diverged as how:
            return self.keep(row, dict(settings=row.settings, kind=row.kind, few=row.few,
                                       seconds=round(time.time() - started, 1), diverged=str(how)))
        result = dict(settings=row.settings, kind=row.kind, few=row.few,
                      seconds=round(time.time() - started, 1), report=report or trained)
        names = (["dev"] if row.dev else ["eval"]) + (
            ["jpeg"] if row.network.startswith("resnet") and not row.dev else [])
        for name in names:
            samples = self.samples(row.network, name)
            if samples:
                result[name] = self.evaluate(row.network, relative, name, samples, log)
        return self.keep(row, result)

    def keep(self, row, result):
        with open(self.path(row.folder, "result.json"), "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1, sort_keys=True)
        return result

    def control(self, row, folder, log):
        """Trains the float network, then does PTQ to it by a project of its own."""
        options = {key: value for key, value in row.settings.items() if key != "weightBits"}
        start = {"folder": f"build/{row.network}", "model": "folded.onnx"}
        report = self.train(row, folder, log, start, dict(options, fakeQuantization=False),
                            few=row.few, into="float")
        if not report["kept"]:
            return {"folder": f"build/{row.network}", "model": "corrected.onnx", "report": report}
        # The trained network is the model of a project like the one it came from.
        network = PROJECTS[row.network].split("model:")[1].split("\n", 1)[1]
        up = os.path.relpath(self.work, self.path(folder, "project"))
        self.write(f"{folder}/project/quench.yaml", "quench: 1\ndefaults:\n"
                   "  target: {soc: Ascend310P3, compiler: host}\n"
                   "  precision: {maxFP16Share: 0}\nmodels:\n"
                   f"  {row.network}:\n    model: ../float.onnx\n" + network)
        for name in ("data", "fashion"):
            if os.path.lexists(self.path(name)):
                os.symlink(os.path.join(up, name), self.path(folder, "project", name))
        self.build(row.network, self.path(folder, "project"))
        return {"folder": f"{folder}/project/build/{row.network}", "model": "corrected.onnx",
                "report": report}

    def train(self, row, folder, log, start, options, few=0, into="tuned"):
        """`quench finetune` and `quantize`; returns what the report says."""
        settings = self.write(f"{folder}/{into}.settings.json", json.dumps(options, sort_keys=True))
        samples = self.samples(row.network, "train")
        if few:
            lines = read(self.path(samples)).splitlines()[:few]
            samples = self.write(f"{folder}/{into}.samples", "\n".join(lines) + "\n")
        base = start["folder"]
        out = f"{folder}/{into}"
        began = time.time()
        self.must([
            "finetune", "--model", f"{base}/{start['model']}",
            "--teacher", f"build/{row.network}/folded.onnx", "--config", f"{base}/calibration.cfg",
            "--scales", f"{base}/scales.json",
            "--preprocess", f".quench/settings/{row.network}/preprocess.json",
            "--samples", samples, "--settings", settings, "--threads", str(self.threads),
            "-o", f"{out}.onnx", "--tuned-scales", f"{out}.scales.json",
            "--tuned-config", f"{out}.cfg", "--report", f"{out}.report.json",
            "--plot", f"{out}.svg"], log=log)
        report = json.loads(read(self.path(f"{out}.report.json")))
        self.must(["quantize", "--model", f"{out}.onnx", "--config", f"{out}.cfg",
                   "--scales", f"{out}.scales.json", "-o", f"{out}.qdq.onnx",
                   "--deploy", f"{out}.deploy.onnx", "--record", f"{out}.record.txt"], log=log)
        changes = report["scales"]["changes"]
        swings = [abs(b - a) for one, two in zip(changes, changes[1:]) for a, b in zip(one, two)]
        return {
            "kept": report["verdict"]["keepsTuned"], "reason": report["verdict"]["reason"],
            "gain": report["verdict"]["lossGain"], "gainError": report["verdict"]["lossGainError"],
            "ptq": report["ptq"], "tuned": report.get("tuned"), "bestEpoch": report["bestEpoch"],
            "epochs": [(e["trainingLoss"], e["heldBackLoss"], e.get("agreement"))
                       for e in report["epochs"]],
            "trained": report["trainedSamples"], "heldBack": report["heldBackSamples"],
            "steps": report["steps"], "stoppedEarly": report["stoppedEarly"],
            "swing": max(swings, default=0),
            "change": max((abs(c) for c in changes[-1]), default=0) if changes else 0,
            "trainSeconds": round(time.time() - began, 1)}

    def evaluate(self, network, folder, name, samples, log):
        out = self.path(folder, f"{name}.json")
        self.must(["evaluate", "--model", f"build/{network}/folded.onnx",
                   "--candidate", f"{folder}/tuned.qdq.onnx",
                   "--preprocess", f".quench/settings/{network}/preprocess.json",
                   "--samples", samples, "--threads", str(self.threads), "-o", out], log=log)
        e = json.loads(read(out))
        return {"fp32": 100 * e["fp32Top1"]["value"], "int8": 100 * e["int8Top1"]["value"],
                "drop": e["drop"], "dropError": e["dropError"], "better": e["better"],
                "worse": e["worse"], "agreement": 100 * e["agreement"]["value"],
                "sqnr": e["sqnrDecibel"], "samples": e["samples"]}


# MARK: reading


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def npy(content):
    """The integers of a one-dimensional .npy file of bytes."""
    stream = io.BytesIO(content)
    magic = stream.read(8)
    size = int.from_bytes(stream.read(2 if magic[6] == 1 else 4), "little")
    header = ast.literal_eval(stream.read(size).decode("latin-1"))
    if magic[:6] != b"\x93NUMPY" or header["descr"] != "|u1":
        sys.exit("finetuning: labels.npy holds no bytes")
    return list(array.array("B", stream.read()))


def idx_labels(path):
    import gzip
    return list(gzip.open(path).read()[8:])


# MARK: tables


def mean_and_spread(values):
    """"91.20", or of several "91.20 (90.9 … 91.5)"."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ({min(values):.2f} … {max(values):.2f})"


def won_back(ptq, results, which="eval"):
    """The share of PTQ's loss that comes back, in percent, for each result; None without a loss."""
    lost = ptq[which]["drop"]
    return None if lost <= 0 else [100 * (1 - r[which]["drop"] / lost) for r in results]


def verdicts(results):
    kept = sum(r["report"]["kept"] for r in results)
    return "tuned" if kept == len(results) else "PTQ" if kept == 0 else f"tuned {kept} of {len(results)}"


def line(cells):
    print("| " + " | ".join(cells) + " |")


def head(cells):
    line(cells)
    print("|" + "---|" * len(cells))


def print_group(group, done):
    """One table a group: a line a network and name, its seeds together."""
    rows = [(row, done[row.key]) for row in done["rows"] if row.group == group]
    if not rows:
        return
    which = "dev" if rows[0][0].dev else "eval"
    has_jpeg = any("jpeg" in result for _, result in rows)
    print(f"\n## {group}\n")
    head(["network", "what", "seeds", "top-1 %", "drop ± error by seed", "won back %",
          "agrees with FP32 %"] + (["damaged pictures: drop, agrees"] if has_jpeg else [])
         + ["kept", "held-back loss: start, best"])
    lines = {}
    for row, result in rows:
        lines.setdefault((row.network, row.name), []).append((row, result))
    for (network, name), pairs in lines.items():
        results = [result for _, result in pairs]
        if any("diverged" in r for r in results):
            line([network, name, "", "", results[0]["diverged"]] + [""] * (5 if has_jpeg else 4))
            continue
        ptq = [r for (n, _), p in lines.items() if n == network for row, r in p if row.kind == "ptq"]
        figures = [r[which] for r in results]
        isPTQ = pairs[0][0].kind == "ptq"
        share = won_back(ptq[0], results, which) if ptq and not isPTQ else None
        jpeg = [r["jpeg"] for r in results if "jpeg" in r]
        held = ["" if isPTQ else "; ".join(
            f"{r['report']['ptq']['loss']:.3g}, "
            + (f"{r['report']['tuned']['loss']:.3g}" if r["report"].get("tuned") else "none")
            for r in results)]
        line([f"{network} (FP32 {figures[0]['fp32']:.2f}, {figures[0]['samples']:,})", name,
              " ".join(str(row.seed) for row, _ in pairs if row.seed is not None),
              mean_and_spread([f["int8"] for f in figures]),
              ", ".join(f"{f['drop']:.2f} ± {f['dropError']:.2f}" for f in figures),
              "" if share is None else f"{statistics.mean(share):.0f}"
              + (f" ({min(share):.0f} … {max(share):.0f})" if len(share) > 1 else ""),
              mean_and_spread([f["agreement"] for f in figures])]
             + ([f"{statistics.mean(j['drop'] for j in jpeg):.2f}, "
                 f"{statistics.mean(j['agreement'] for j in jpeg):.1f}" if jpeg else ""]
                if has_jpeg else [])
             + ["" if isPTQ else verdicts(results)] + held)


def print_scales(done):
    rows = [(row, done[row.key]) for row in done["rows"] if row.group == "scales"]
    if not rows:
        return
    print("\n## scales: how far they moved\n")
    head(["network", "what", "largest change within 100 steps", "largest change at the end"])
    for row, result in rows:
        if row.kind == "qat":
            line([row.network, row.name, f"{100 * result['report']['swing']:.1f} %",
                  f"{100 * result['report']['change']:.1f} %"])


# MARK: the rows

SEEDS = (1, 2, 3)
AUGMENTED = {"flip": True, "padding": 4}
FOUR = {"weightBits": 4, "batch": 32}
COSINE = {"schedule": "cosine", **AUGMENTED}
# What `choose` found for 4 bits; two epochs of the deep network, which cost as much as six of the other.
CHOSEN = {"epochs": 6, "learningRate": 0.002, **COSINE, **FOUR}
EPOCHS = {"resnet56": 2}
# And for 8 bits.
LONGER = {"epochs": 4, "learningRate": 0.001, **COSINE}
LABELS = {"loss": "crossEntropy"}
BOTH = {"loss": "both"}


def chosen(network, **more):
    return dict(CHOSEN, **({"epochs": EPOCHS[network]} if network in EPOCHS else {}), **more)


def choose_rows():
    four = dict(FOUR, epochs=4, learningRate=0.005, **COSINE)
    settings = [
        ("ptq", FOUR),
        ("3 epochs at 0.002, no augmentation",
         dict(FOUR, epochs=3, learningRate=0.002, scaleLearningRate=0.001)),
        ("8 epochs at 0.002, cosine", dict(FOUR, epochs=8, learningRate=0.002, **COSINE)),
        ("4 epochs at 0.005, cosine", four),
        ("4 epochs at 0.01, cosine", dict(four, learningRate=0.01)),
        ("4 epochs at 0.005, cosine, both", dict(four, **BOTH)),
        ("4 epochs at 0.005, cosine, labels", dict(four, **LABELS)),
        ("6 epochs at 0.002, cosine, labels", dict(CHOSEN, **LABELS)),
        ("6 epochs of AdamW at 0.0001, cosine",
         dict(CHOSEN, learningRate=0.0001, optimizer="adamW")),
    ]
    rows = [Row("choose", "resnet20", name, values, 11, dev=True,
                kind="ptq" if name == "ptq" else "qat") for name, values in settings]
    six = dict(FOUR, epochs=6, schedule="cosine", learningRate=0.002)
    flip = {"flip": True}
    for name, few, values in [
        ("ptq", 40, FOUR),
        ("6 epochs at 0.002, flip, crop by 4", 4000, dict(six, **AUGMENTED)),
        ("6 epochs at 0.002, flip, crop by 1", 4000, dict(six, flip=True, padding=1)),
        ("6 epochs at 0.002, flip", 4000, dict(six, **flip)),
        ("6 epochs at 0.002", 4000, six),
        ("6 epochs at 0.0005, flip", 4000, dict(six, **flip, learningRate=0.0005)),
        ("6 epochs at 0.002, flip, 12,000 pictures", 0, dict(six, **flip)),
        ("6 epochs at 0.002, flip, labels", 4000, dict(six, **flip, **LABELS)),
        ("6 epochs at 0.0005, flip, labels", 4000, dict(six, **flip, **LABELS, learningRate=0.0005)),
        ("6 epochs at 0.0001, flip, labels", 4000, dict(six, **flip, **LABELS, learningRate=0.0001)),
        ("6 epochs at 0.0005, flip, labels, 12,000 pictures", 0,
         dict(six, **flip, **LABELS, learningRate=0.0005)),
        ("6 epochs at 0.0005, flip, both", 4000, dict(six, **flip, **BOTH, learningRate=0.0005)),
    ]:
        rows.append(Row("choose", "fashion", name, values, 11, dev=True, few=few,
                        kind="ptq" if name == "ptq" else "qat"))
    for name, values in [
        ("ptq", {}), ("auto", {}), ("auto, ten times the rate", {"learningRate": 1e-3}),
        ("auto, AdamW at 0.0001", {"learningRate": 1e-4, "optimizer": "adamW"}),
        ("auto, AdamW at 0.00001", {"learningRate": 1e-5, "optimizer": "adamW"}),
        ("4 epochs at 0.001, cosine", LONGER),
    ]:
        rows.append(Row("choose8", "resnet20", name, values, 11, dev=True,
                        kind="ptq" if name == "ptq" else "qat"))
    return rows


def w8_rows():
    rows = []
    for network in ("resnet20", "fashion", "resnet56"):
        rows.append(Row("w8", network, "ptq", {}, kind="ptq"))
        for seed in SEEDS[:1] if network == "resnet56" else SEEDS:
            rows.append(Row("w8", network, "auto", {}, seed))
        for seed in SEEDS[:1] if network == "resnet56" else SEEDS:
            rows.append(Row("w8", network, "longer", dict(LONGER), seed))
        rows.append(Row("w8", network, "labels", LABELS, 1))
        rows.append(Row("w8", network, "control: labels, float, then PTQ", LABELS, 1,
                        kind="control"))
    return rows


def w4_rows():
    rows = []
    for network in ("resnet20", "fashion", "resnet56"):
        rows.append(Row("w4", network, "ptq", FOUR, kind="ptq"))
        for seed in SEEDS:
            for name, loss in (("distillation", {}), ("labels", LABELS), ("both", BOTH)):
                rows.append(Row("w4", network, name, chosen(network, **loss), seed))
            if seed == 1 or network == "fashion":
                rows.append(Row("w4", network, "control: labels, float, then PTQ",
                                chosen(network, **LABELS), seed, kind="control"))
    return rows


def tensor_rows():
    rows = [Row("tensor", "resnet20-tensor", "ptq", FOUR, kind="ptq")]
    for seed in SEEDS:
        rows.append(Row("tensor", "resnet20-tensor", "distillation",
                        chosen("resnet20-tensor"), seed))
    return rows


def mobile_rows():
    base = {"batch": 8, "patience": 0, "loss": "distillation"}
    pictures = {"flip": True, "padding": 16}
    earlier = {"epochs": 20, "learningRate": 0.0005, "scaleLearningRate": 0.001}
    sixty = {"epochs": 60, "schedule": "cosine", "learningRate": 0.0005, **pictures}
    calm, free = {"scaleLearningRate": 0.001}, {"scaleLearningRate": 0.02, "unfreezeScalesAt": 0}
    adam = {"optimizer": "adamW", "learningRate": 0.0001}
    settings = [
        ("ptq", {}),
        ("20 epochs at 0.0005, no augmentation", earlier),
        ("60 epochs at 0.0005, cosine, flip, crop", dict(sixty, **calm)),
        ("the same, scales from the start", dict(sixty, **free)),
        ("the same, AdamW at 0.0001", dict(sixty, **calm, **adam)),
        ("the same, AdamW at 0.0001, scales from the start", dict(sixty, **free, **adam)),
        ("the same, AdamW at 0.0003", dict(sixty, **calm, **dict(adam, learningRate=0.0003))),
        ("the same, AdamW at 0.001", dict(sixty, **calm, **dict(adam, learningRate=0.001))),
        ("the same, AdamW at 0.0001, 240 epochs", dict(sixty, **calm, **dict(adam, epochs=240))),
    ]
    return [Row("mobile", "mobilenet-tensor", name, dict(base, **values), 1,
                kind="ptq" if name == "ptq" else "qat") for name, values in settings]


def scales_rows():
    # A hundred times the usual rate of the scales, so that they move at all; few, small batches.
    base = {"epochs": 2, "batch": 8, "learningRate": 0.002, "scaleLearningRate": 0.1,
            "weightBits": 4}
    return [Row("scales", "resnet20", "ptq", FOUR, kind="ptq"),
            Row("scales", "resnet20", "released from the first step",
                dict(base, unfreezeScalesAt=0), 1, few=1000),
            Row("scales", "resnet20", "released after 80 %",
                dict(base, unfreezeScalesAt=0.8), 1, few=1000)]


def all_rows():
    return (choose_rows() + w8_rows() + w4_rows() + tensor_rows() + mobile_rows() + scales_rows())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quench", help="the program to measure")
    parser.add_argument("--data", help="the folder of models and pictures")
    parser.add_argument("--work", default="finetuning-work", help="builds and results")
    parser.add_argument("--groups", default="w8,w4,tensor,mobile,scales")
    parser.add_argument("--only", default="", help="rows whose key holds this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--tables", action="store_true", help="print what is done and run nothing")
    options = parser.parse_args()
    groups = options.groups.split(",")
    rows = [row for group in groups for row in all_rows()
            if row.group == group and options.only in row.key]
    if options.list:
        print("\n".join(row.key for row in rows))
        return
    if not options.quench:
        parser.error("--quench is needed")
    data = options.data or os.path.join(
        os.environ.get("QUENCH_SHARED") or os.path.join(ROOT, "..", "shared"), "data")
    bench = Bench(options.quench, data, options.work, options.threads)
    done = {"rows": []}
    for number, row in enumerate(rows, 1):
        if row.network not in bench.networks:
            continue
        result = bench.result(row) if options.tables else bench.run(row)
        if result is None:
            continue
        done["rows"].append(row)
        done[row.key] = result
        figures = result.get("dev") or result.get("eval")
        if not figures:
            print(f"{number}/{len(rows)} {row.key}: diverged {result['diverged']}",
                  file=sys.stderr, flush=True)
            continue
        print(f"{number}/{len(rows)} {row.key}: top-1 {figures['int8']:.2f}, drop "
              f"{figures['drop']:.2f} ± {figures['dropError']:.2f}, agrees "
              f"{figures['agreement']:.1f}, {verdicts([result])}, {result['seconds']:.0f} s",
              file=sys.stderr, flush=True)
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores")
    for network in bench.skipped:
        print(f"\nskipped: {network}, whose model or pictures are not in {data}")
    for group in groups:
        print_group(group, done)
    print_scales(done)


main()
