#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what fine-tuning wins back, and prints tables. Judges nothing, gates nothing.

    finetuning.py [--quench FILE] [--data FOLDER] [--work FOLDER] [--groups w8,w4,...] [--list]

FOLDER of the data holds models/, cifar10/, imagenet/ and labels.csv as models.json there describes
them; default: $QUENCH_SHARED/data, else ../shared/data beside the repository. Fashion-MNIST comes
from Debian's package dataset-fashion-mnist. What is not there is skipped, and the tables say so.
ONNX Runtime is found as Quench finds it (QUENCH_ONNXRUNTIME).

Each row trains with `quench finetune`, quantizes and evaluates by hand on the files of a build, all
layers INT8. A row that is done is kept in WORK/rows and not run again unless its settings changed,
so the whole may be stopped and started. Rows in groups:

    choose, choose8  settings tried for 4 and 8 bits, judged on pictures that no other group
            evaluates: how the settings of the other groups were chosen
    w8      8-bit weights, recipe auto, with a control that trains without fake quantization
    w4      4-bit weights by loss, three seeds each, with such a control; weights of Fashion-MNIST's
            network, once of ResNet-20, are frozen on the way (freezeWeightsAt)
    tensor  4-bit weights, one scale a tensor beside one a channel
    mobile  MobileNetV1 0.25, one scale a tensor, distilled on its 120 calibration pictures
    scales  scales released from the first step or after 80 %
"""
import argparse
import datetime
import gzip
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
FASHION = "/usr/share/datasets/fashion-mnist"
# The training pictures of Fashion-MNIST that only judge settings.
KEPT_APART = range(20000, 30000)

HEAD = """quench: 1
defaults:
  target: {soc: Ascend310P3, compiler: host}
  precision: {maxFP16Share: 0}
models:
"""
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


def mobilenet(calibrate, repair="{biasCorrection: true}"):
    """The keys of MobileNetV1 0.25: 120 pictures calibrate and train, 400 others evaluate."""
    return f"""
    model: data/models/mobilenet_v1_025.onnx
    inputs: {{input: [1, 3, 224, 224]}}
    calibrate: {calibrate}
    repair: {repair}
    data:
      calibration: {{list: data/labels.csv, where: {{split: calibration}}, root: data}}
      evaluation: {{list: data/labels.csv, where: {{split: evaluation}}, root: data, labels: data/labels.csv, labelOffset: 1}}
    preprocess:
      - resize: {{shortSide: 256, filter: bilinear}}
      - centerCrop: [224, 224]
      - normalize: {{scale: 0.00392156862745098, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
      - layout: NCHW
    finetune:
      enabled: true
      data: {{list: data/labels.csv, where: {{split: calibration}}, root: data, labelOffset: 1}}
"""


PROJECTS = {
    "resnet20": cifar("resnet20_cifar10.onnx", "target"),
    "resnet20-tensor": cifar("resnet20_cifar10.onnx", "perTensor"),
    "resnet56": cifar("resnet56_cifar10.onnx", "target"),
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
      data: {arrays: fashion/train-images-idx3-ubyte.gz, labels: fashion/train-labels-idx1-ubyte.gz}
""",
    "mobilenet-tensor": mobilenet("{weights: perTensor}"),
    # Nothing but the extremes: what PTQ repairs.
    "mobilenet-raw": mobilenet("{weights: perTensor, method: minmax}", "{biasCorrection: false}"),
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
        return "rows/" + re.sub("[^0-9A-Za-z./]+", "-", self.key)


class Diverged(Exception):
    """Training ended because the loss ran away."""


class Bench:
    """The work folder: builds of the networks, and the rows that are done."""

    def __init__(self, quench, data, work, threads):
        self.quench = os.path.abspath(shutil.which(quench) or quench)
        self.work, self.threads = os.path.abspath(work), threads
        self.skipped = []
        os.makedirs(self.work, exist_ok=True)
        self.link("data", data)
        self.link("fashion", FASHION)
        self.link("fashion.onnx", os.path.join(ROOT, "Examples", "quickstart", "network.onnx"))
        here = {name: text for name, text in PROJECTS.items() if self.is_there(name)}
        self.skipped = sorted(set(PROJECTS) - set(here))
        self.write("quench.yaml",
                   HEAD + "".join(f"  {name}:{text}" for name, text in here.items()))
        self.networks, self.built = list(here), set()

    # Samples are named by relative paths, so that which ones judge does not depend on the machine.
    def link(self, name, target):
        path, target = os.path.join(self.work, name), os.path.abspath(target)
        if os.path.lexists(path) and os.readlink(path) != target:
            os.remove(path)
        if not os.path.lexists(path) and os.path.exists(target):
            os.symlink(target, path)

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

    def must(self, arguments, folder=None, log=None):
        """Runs Quench; what it says goes to the log."""
        done = subprocess.run([self.quench, *arguments], cwd=folder or self.work,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode("utf-8", "replace")
        if log:
            with open(log, "a", encoding="utf-8") as file:
                file.write("quench " + " ".join(arguments) + "\n" + text)
        if done.returncode == 1 and "training diverged" in text:
            raise Diverged(text.split("training diverged", 1)[1].splitlines()[0].strip())
        if done.returncode != 0:
            raise RuntimeError(f"quench {' '.join(arguments)} failed:\n{text[-2000:]}")

    def build(self, network, folder=None):
        """PTQ by the pipeline: scales, and corrected biases where the project wants them."""
        model = "folded.onnx" if network.endswith("-raw") else "corrected.onnx"
        if (network, folder) not in self.built:
            base = f"build/{network}"
            # Under the name `quench`, by which the pipeline's own commands call it.
            self.must(["build", f"{base}/{model}", f"{base}/calibration.cfg"],
                      self.path(folder or ""))
            self.built.add((network, folder))
        return {"folder": os.path.join(folder or "", "build", network), "model": model}

    # MARK: sets of pictures

    def samples(self, network, which):
        """The list of the pictures of a set; which: train, eval or dev."""
        base = network.split("-")[0]
        settings = f".quench/settings/{network}"
        if which == "train":
            return self.training_samples(base, f"{settings}/finetune.samples")
        if which == "eval":
            return f"{settings}/evaluation.samples"
        if base.startswith("resnet"):
            array_path = "data/cifar10/test1000_jpeg.npz"
            labels = npy(zipfile.ZipFile(self.path(array_path)).read("labels.npy"))
            lines = [f"{array_path}#images:{i}\t{label}" for i, label in enumerate(labels)]
        elif base == "fashion":
            # 10,000 of the 60,000 training pictures that none of the rows trains on.
            labels = gzip.open(os.path.join(FASHION, "train-labels-idx1-ubyte.gz")).read()[8:]
            lines = [f"fashion/train-images-idx3-ubyte.gz#{i}\t{labels[i]}" for i in KEPT_APART]
        else:
            return None
        return os.path.relpath(self.write(f"sets/{base}-{which}.samples", "\n".join(lines) + "\n"),
                               self.work)

    def training_samples(self, base, path):
        """All that the project names, but for the pictures that choose."""
        if base != "fashion":
            return path
        lines = read(self.path(path)).splitlines(keepends=True)
        lines = [line for i, line in enumerate(lines) if i not in KEPT_APART]
        return os.path.relpath(self.write(f"sets/{base}-train.samples", "".join(lines)), self.work)

    # MARK: rows

    def result(self, row):
        """What an earlier run of the row with the same settings found."""
        path = self.path(row.folder, "result.json")
        result = json.loads(read(path)) if os.path.exists(path) else None
        wanted = {"settings": row.settings, "kind": row.kind, "few": row.few}
        return result if result and {key: result[key] for key in wanted} == wanted else None

    def run(self, row):
        if known := self.result(row):
            return known
        folder = self.path(row.folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        start = self.build(row.network)
        started = time.time()
        relative = os.path.relpath(folder, self.work)
        log = os.path.join(folder, "log")
        report = None
        if row.kind == "control":
            start, report = self.control(row, relative, log, start)
        options = dict(row.settings)
        if row.kind in ("ptq", "control"):
            options = {"epochs": 1, "learningRate": 0, "scaleLearningRate": 0,
                       "weightBits": row.settings.get("weightBits", 8)}
        result = {"settings": row.settings, "kind": row.kind, "few": row.few}
        try:
            trained = self.train(row, relative, log, start, options,
                                 few=40 if row.kind in ("ptq", "control") else row.few)
        except Diverged as how:
            result.update(seconds=round(time.time() - started, 1), diverged=str(how))
            return self.keep(row, result)
        result.update(seconds=round(time.time() - started, 1), report=report or trained)
        name = "dev" if row.dev else "eval"
        samples = self.samples(row.network, name)
        if samples:
            result[name] = self.evaluate(row.network, relative, name, samples, log)
        if report and report["kept"]:
            result["float"] = self.evaluate(row.network, relative, "float",
                                            self.samples(row.network, "eval"), log, "float.onnx")
        return self.keep(row, result)

    def keep(self, row, result):
        self.write(f"{row.folder}/result.json", json.dumps(result, indent=1, sort_keys=True))
        return result

    def control(self, row, folder, log, start):
        """Trains the float network, then does PTQ to it by a project of its own."""
        options = {key: value for key, value in row.settings.items() if key != "weightBits"}
        report = self.train(row, folder, log, dict(start, model="folded.onnx"),
                            dict(options, fakeQuantization=False), few=row.few, into="float")
        if not report["kept"]:
            return start, report
        # The trained network is the model of a project like the one it came from.
        network = PROJECTS[row.network].split("model:")[1].split("\n", 1)[1]
        up = os.path.relpath(self.work, self.path(folder, "project"))
        self.write(f"{folder}/project/quench.yaml",
                   HEAD + f"  {row.network}:\n    model: ../float.onnx\n" + network)
        for name in ("data", "fashion"):
            if os.path.lexists(self.path(name)):
                os.symlink(os.path.join(up, name), self.path(folder, "project", name))
        return self.build(row.network, f"{folder}/project"), report

    def train(self, row, folder, log, start, options, few=0, into="tuned"):
        """`quench finetune` and `quantize`; returns what the report says."""
        settings = self.write(f"{folder}/{into}.settings.json", json.dumps(options, sort_keys=True))
        lines = read(self.path(self.samples(row.network, "train"))).splitlines()[:few or None]
        if options.get("loss", "distillation") == "distillation":
            # Not even the guard may look at labels then.
            lines = [line.split("\t")[0] for line in lines]
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

    def evaluate(self, network, folder, name, samples, log, candidate="tuned.qdq.onnx"):
        out = self.path(folder, f"{name}.json")
        self.must(["evaluate", "--model", f"build/{network}/folded.onnx",
                   "--candidate", f"{folder}/{candidate}",
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
    """The numbers of a one-dimensional .npy file, version 1, of bytes."""
    start = 10 + int.from_bytes(content[8:10], "little")
    if content[:7] != b"\x93NUMPY\x01" or b"'|u1'" not in content[:start]:
        sys.exit("finetuning: labels.npy holds no bytes")
    return list(content[start:])


# MARK: tables


def mean_and_spread(values, digits=2):
    """"91.20", or of several "91.20 (90.90 … 91.50)"."""
    mean, low, high = (f"{f(values):.{digits}f}" for f in (statistics.mean, min, max))
    return mean if len(values) == 1 else f"{mean} ({low} … {high})"


def won_back(ptq, figures):
    """The share of PTQ's loss that comes back, in percent, for each result; None without a loss."""
    return [100 * (1 - f["drop"] / ptq["drop"]) for f in figures] if ptq["drop"] > 0 else None


def verdicts(results):
    kept = sum(r["report"]["kept"] for r in results)
    return "tuned" if kept == len(results) else "PTQ" if kept == 0 else f"tuned {kept} of {len(results)}"


def line(cells):
    print("| " + " | ".join(cells) + " |")


def figures_of(row, result):
    return result.get("dev" if row.dev else "eval")


def top1(results, figures):
    """With what the control's float network reaches before PTQ."""
    text = mean_and_spread([f["int8"] for f in figures])
    floats = [r["float"]["int8"] for r in results if "float" in r]
    return text + (f", float {mean_and_spread(floats)}" if floats else "")


def held(result):
    report = result["report"]
    tuned = report.get("tuned")
    return f"{report['ptq']['loss']:.3g}, " + (f"{tuned['loss']:.3g}" if tuned else "none")


def print_group(group, done):
    """One table a group: a line a network and name, its seeds together."""
    lines = {}
    for row in done["rows"]:
        if row.group == group:
            lines.setdefault((row.network, row.name), []).append((row, done[row.key]))
    if not lines:
        return
    print(f"\n## {group}\n")
    line(["network", "what", "seeds", "top-1 %", "drop ± error by seed", "won back %",
          "agrees with FP32 %", "SQNR dB", "kept", "held-back loss: start, best"])
    line(["---"] * 10)
    for (network, name), pairs in lines.items():
        results = [result for _, result in pairs]
        isPTQ = pairs[0][0].kind == "ptq"
        seeds = " ".join(str(row.seed) for row, _ in pairs if row.seed is not None and not isPTQ)
        diverged = [r["diverged"] for r in results if "diverged" in r]
        if diverged:
            line([network, name, seeds, "", diverged[0]] + [""] * 5)
            continue
        ends = ["" if isPTQ else verdicts(results), "" if isPTQ else "; ".join(map(held, results))]
        figures = [figures_of(*pair) for pair in pairs]
        if not all(figures):
            line([network, name, seeds] + [""] * 5 + ends)
            continue
        base = [figures_of(row, result) for (n, _), p in lines.items() if n == network
                for row, result in p if row.kind == "ptq"]
        share = won_back(base[0], figures) if base and not isPTQ else None
        line([f"{network} (FP32 {figures[0]['fp32']:.2f}, {figures[0]['samples']:,})", name, seeds,
              top1(results, figures),
              ", ".join(f"{f['drop']:.2f} ± {f['dropError']:.2f}" for f in figures),
              mean_and_spread(share, 0) if share else "",
              mean_and_spread([f["agreement"] for f in figures]),
              f"{statistics.mean(f['sqnr'] for f in figures):.1f}"] + ends)


def print_scales(done):
    rows = [(row, done[row.key]) for row in done["rows"] if row.group == "scales"]
    if not rows:
        return
    print("\n## scales: how far they moved\n")
    line(["network", "what", "largest change within 100 steps", "largest change at the end"])
    line(["---"] * 4)
    for row, result in rows:
        if row.kind == "qat":
            line([row.network, row.name, f"{100 * result['report']['swing']:.1f} %",
                  f"{100 * result['report']['change']:.1f} %"])


# MARK: the rows

SEEDS = (1, 2, 3)
FOUR = {"weightBits": 4, "batch": 32}
COSINE = {"schedule": "cosine", "flip": True, "padding": 4}
ADAM = {"optimizer": "adamW"}
LABELS = {"loss": "crossEntropy"}
BOTH = {"loss": "both"}
CONTROL = "control: labels, float, then PTQ"
# What `choose` found. Of ResNet-20, used for ResNet-56 too, whose epochs cost three times as much.
CHOSEN = {"epochs": 6, "learningRate": 0.002, **COSINE, **FOUR}
LOSSES = {"distillation": {}, "labels": LABELS, "both": BOTH}
# Of Fashion-MNIST's network, whose borders are black, so that a crop is no help.
FASHION_FOUR = {"epochs": 20, "learningRate": 0.0001, "schedule": "constant", "flip": True,
                "freezeWeightsAt": 0.2, "scaleLearningRate": 0.02, "unfreezeScalesAt": 0,
                "patience": 0, **ADAM, **FOUR}
FASHION_LOSSES = {"distillation": {"temperature": 4},
                  "labels": dict(LABELS, epochs=3, learningRate=2e-5),
                  "both": dict(BOTH, labelShare=0.1, temperature=4)}
# Of MobileNetV1 0.25 with one scale a tensor, which must not move.
MOBILE = {"epochs": 90, "batch": 16, "learningRate": 5e-5, "unfreezeScalesAt": 1,
          "patience": 0, "schedule": "cosine", "flip": True, "padding": 32, **ADAM}


def few(network, loss="distillation"):
    """Training pictures; 0: all that there are."""
    return 4000 if network == "fashion" and loss != "labels" else 0


def chosen(network, loss="distillation"):
    if network == "fashion":
        return dict(FASHION_FOUR, **FASHION_LOSSES[loss])
    return dict(CHOSEN, **({"epochs": 2} if network == "resnet56" else {}), **LOSSES[loss])


def choose_rows():
    """The settings tried, each a change to one that is named first."""
    rows = []

    def add(network, base, settings, group="choose", number=0, seeds=(11,)):
        rows.append(Row(group, network, "ptq", {k: base[k] for k in FOUR if k in base}, 11,
                        dev=True, few=40, kind="ptq"))
        for name, change in settings:
            change = dict(change)
            own = change.pop("few", number)
            for seed in seeds:
                rows.append(Row(group, network, name, dict(base, **change), seed, dev=True, few=own))

    four = {"epochs": 4, "learningRate": 0.005}
    add("resnet20", CHOSEN, [
        ("6 epochs of SGD at 0.002", {}),
        ("8 epochs", {"epochs": 8}),
        ("4 epochs at 0.005", four),
        ("4 epochs at 0.01", dict(four, learningRate=0.01)),
        ("4 epochs at 0.005, both", dict(four, **BOTH)),
        ("4 epochs at 0.005, labels", dict(four, **LABELS)),
        ("labels", LABELS),
        ("weights frozen from 20 % on", {"freezeWeightsAt": 0.2}),
        ("weights frozen, constant", {"freezeWeightsAt": 0.2, "schedule": "constant"}),
        ("weights frozen, constant, 12 epochs",
         {"freezeWeightsAt": 0.2, "schedule": "constant", "epochs": 12, "patience": 0}),
    ])
    late = {"scaleLearningRate": 1e-5, "unfreezeScalesAt": 0.8}
    jumping = {"freezeWeightsAt": 1, "schedule": "cosine", "epochs": 6, "patience": 5}
    calm = dict(jumping, **late)
    labels = FASHION_LOSSES["labels"]
    add("fashion", chosen("fashion"), [
        ("20 epochs, scales from the start, weights frozen from 20 % on", {}),
        ("the same, scales after 80 %", late),
        ("the same, no weights frozen", {"freezeWeightsAt": 1}),
        ("scales after 80 %, T 2", dict(late, temperature=2)),
        ("scales after 80 %, 10 epochs, cosine", dict(late, epochs=10, schedule="cosine")),
        ("no weights frozen, 6 epochs, cosine", jumping),
        ("no weights frozen, scales after 80 %", calm),
        ("the same at 0.0005", dict(calm, learningRate=0.0005)),
        ("the same, 20 epochs", dict(calm, epochs=20, patience=0)),
        ("the same at 0.0002, 12,000 pictures", dict(calm, learningRate=0.0002, few=12000)),
        ("the same, SGD at 0.002", dict(calm, optimizer="sgd", learningRate=0.002)),
        ("both, a tenth of labels", FASHION_LOSSES["both"]),
        ("both, no weights frozen, 6 epochs, cosine", dict(FASHION_LOSSES["both"], **jumping)),
        ("labels at 2e-5, 50,000 pictures", dict(labels, few=0)),
        ("labels at 5e-6", dict(labels, learningRate=5e-6, few=0)),
        ("labels, no weights frozen", dict(labels, freezeWeightsAt=1, few=0)),
        ("labels, cosine", dict(labels, schedule="cosine", few=0)),
        ("labels, scales after 80 %", dict(labels, **late, few=0)),
        ("labels at 2e-5, no weights frozen, 12,000 pictures",
         dict(labels, **calm, few=12000)),
    ], number=few("fashion"), seeds=(11, 12, 13))
    # Their own held-back pictures judge: there are no others.
    small = {"learningRate": 3e-5, "batch": 8, "epochs": 60, "scaleLearningRate": 0.001}
    add("mobilenet-tensor", dict(MOBILE, heldBack=0.4), [
        ("90 epochs of AdamW at 5e-5, batch 16", {}),
        ("AdamW at 3e-5, 60 epochs of batch 8", small),
        ("the same, scales after 80 %", dict(small, unfreezeScalesAt=0.8)),
        ("the same, scales from the start", dict(small, unfreezeScalesAt=0)),
        ("AdamW at 1e-4, 60 epochs of batch 8", dict(small, learningRate=1e-4)),
    ])
    for network, change in (("resnet20", {"padding": 4}), ("fashion", {})):
        change = dict(change, flip=True, schedule="cosine")
        add(network, {}, [
            ("auto", {}),
            ("AdamW at 1e-5, augmented", dict(change, **ADAM, learningRate=1e-5)),
            ("4 epochs of SGD at 0.001, augmented", dict(change, epochs=4, learningRate=0.001)),
        ], group="choose8", number=few(network), seeds=(11, 12))
    return rows


def w8_rows():
    rows = []
    for network in ("resnet20", "fashion", "resnet56"):
        longer = dict(COSINE, epochs=4, learningRate=0.001)
        if network == "fashion":
            longer["padding"] = 0
        number = few(network)
        rows.append(Row("w8", network, "ptq", {}, kind="ptq", few=number))
        for seed in SEEDS:
            rows.append(Row("w8", network, "auto", {}, seed, few=number))
            rows.append(Row("w8", network, "longer", longer, seed, few=number))
            rows.append(Row("w8", network, "labels", LABELS, seed, few=number))
            rows.append(Row("w8", network, CONTROL, LABELS, seed, kind="control", few=number))
    return rows


def w4_rows():
    rows = []
    for network in ("fashion", "resnet56", "resnet20"):
        rows.append(Row("w4", network, "ptq", FOUR, kind="ptq", few=few(network)))
        for seed in SEEDS:
            # An epoch of the deep network takes long.
            for loss in list(LOSSES)[:2 if network == "resnet56" else 3]:
                rows.append(Row("w4", network, loss, chosen(network, loss), seed,
                                few=few(network, loss)))
        rows.append(Row("w4", network, CONTROL, chosen(network, "labels"), 1, kind="control",
                        few=few(network, "labels")))
    # Whether it harms where nothing is left to win.
    return rows + [
        Row("w4", "resnet20", f"{loss}, weights frozen from 20 % on",
            dict(chosen("resnet20", loss), freezeWeightsAt=0.2), 1) for loss in list(LOSSES)[:2]]


def tensor_rows():
    network = "resnet20-tensor"
    return [Row("tensor", network, "ptq", FOUR, kind="ptq")] + [
        Row("tensor", network, "distillation", chosen(network), seed) for seed in SEEDS] + [
        Row("tensor", network, CONTROL, chosen(network, "labels"), 1, kind="control")]


def mobile_rows():
    network = "mobilenet-tensor"
    return [Row("mobile", "mobilenet-raw", "ptq", {}, kind="ptq"),
            Row("mobile", network, "ptq", {}, kind="ptq")] + [
        Row("mobile", network, "distillation", MOBILE, seed) for seed in SEEDS] + [
        Row("mobile", network, CONTROL, dict(MOBILE, **LABELS), 1, kind="control")]


def scales_rows():
    # A hundred times the usual rate of the scales, so that they move at all; few, small batches.
    base = {"epochs": 2, "batch": 8, "learningRate": 0.002, "scaleLearningRate": 0.1,
            "weightBits": 4}
    return [Row("scales", "resnet20", "ptq", FOUR, kind="ptq")] + [
        Row("scales", "resnet20", name, dict(base, unfreezeScalesAt=share), 1, few=1000)
        for name, share in (("released from the first step", 0), ("released after 80 %", 0.8))]


def all_rows():
    return choose_rows() + w8_rows() + w4_rows() + tensor_rows() + mobile_rows() + scales_rows()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quench", default="quench", help="the program to measure")
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
    data = options.data or os.path.join(
        os.environ.get("QUENCH_SHARED") or os.path.join(ROOT, "..", "shared"), "data")
    bench = Bench(options.quench, data, options.work, options.threads)
    done = {"rows": []}
    for number, row in enumerate(rows, 1):
        if row.network not in bench.networks:
            continue
        result = bench.result(row) if options.tables else bench.run(row)
        if not result:
            continue
        done["rows"].append(row)
        done[row.key] = result
        figures = figures_of(row, result)
        said = result.get("diverged") or verdicts([result])
        if figures:
            said += (f", top-1 {figures['int8']:.2f}, drop {figures['drop']:.2f} ± "
                     f"{figures['dropError']:.2f}, agrees {figures['agreement']:.1f}")
        print(f"{number}/{len(rows)} {row.key}: {said}, {result['seconds']:.0f} s",
              file=sys.stderr, flush=True)
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores")
    for network in bench.skipped:
        print(f"\nskipped: {network}, whose model or pictures are not in {data}")
    for group in groups:
        print_group(group, done)
    print_scales(done)


if __name__ == "__main__":
    main()
