"""README.md of a compressed package: what was taken, what that cost, and how to do it again."""

from __future__ import annotations

from typing import Any

from analysis.packages.model_card import LIMITS, fields, span, versions_in_words
from vgg6.common.markdown import fenced, plain
from vgg6.config import TrialConfig

FILES = """\
| file | what it is |
|---|---|
| `config.yaml` | every hyperparameter, the data's fingerprint, the arithmetic, the compression |
| `history.csv` | the metrics of every epoch of the training before the compression |
| `metrics.json` | the scores above, and the epochs after pruning |
| `environment.json` | versions, device, threads, CPU |
| `model.onnx` | the network{kind}, its normalisation inside |{weights}
| `load_model.py` | {loader} |
| `SHA256SUMS` | checksums of all the others: `sha256sum -c SHA256SUMS` |"""


def in_words(compression: dict[str, Any]) -> str:
    """What was done, for a title."""
    pruned = compression["prune"]
    parts = [f"pruned by {pruned['sparsity']:.0%} of its FLOPs"] if pruned else []
    return " and ".join(parts + ["quantised to int8"] * bool(compression["int8"]))


def compress_command(compression: dict[str, Any]) -> str:
    """The command that makes the same of the package that was compressed."""
    words = ["python tune_vgg6.py compress TRAINED"]
    if pruned := compression["prune"]:
        words.append(f"--method prune --sparsity {pruned['sparsity']} --epochs {pruned['epochs']}")
    if compression["int8"]:
        words.append("--method int8")
    return " ".join([*words, "--out THIS_FOLDER"])


def compression_card(
    title: str,
    config: TrialConfig,
    data: dict[str, Any],
    metrics: dict[str, Any],
    environment: dict[str, Any],
    compression: dict[str, Any],
    command: str,
) -> str:
    """The text of the card.

    Args:
        data: what ``data_facts`` recorded. metrics, environment: as in the package's files.
        command: that trains the network before its compression again.
    """
    before, after = metrics["before"], metrics["after"]
    name, quantized = plain(data["name"]), bool(compression["int8"])
    needs = "onnxruntime" if quantized else "torch and safetensors"
    array = "numpy array" if quantized else "tensor"
    commands = fenced(
        [
            f"{command} --out TRAINED",
            compress_command(compression),
            "python tune_vgg6.py verify THIS_FOLDER           # both again, compared with this one",
            "python tune_vgg6.py verify --quick THIS_FOLDER   # scores model.onnx only",
        ]
    )
    speed = "\n".join(
        f"| {row['batch']} | {row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}) |"
        f" {row['over_torch']:.2f} |"
        for row in metrics["speed"]
    )
    return f"""\
# {plain(title)}

VGG6, a small convolutional network with the activation {config.activation}, that sorts 32x32 colour
images into {len(data["classes"])} classes: {plain(", ".join(data["classes"]))}.

## What it lost and gained

| | before | after |
|---|---|---|
| validation accuracy | {before["accuracy"]:.4f} | {after["accuracy"]:.4f} |
| validation loss (nats) | {before["loss"]:.4f} | {after["loss"]:.4f} |
| `model.onnx` (bytes) | {before["bytes"]:,} | {after["bytes"]:,} |
| parameters | {before["parameters"]:,} | {after["parameters"]:,} |
| FLOPs an image | {before["flops"]:,} | {after["flops"]:,} |

Both were scored by onnxruntime on the same {data["val_images"]:,} validation images; counting on so
many leaves the accuracy after at {span(metrics["val_acc_interval"])} (95 %, Wilson). Before, it
is the network in fp32 as it was trained. The test images had no part in this.

| images at once | times as fast as fp32 in onnxruntime (quartiles) | as fp32 in torch |
|---|---|---|
{speed}

Ratios of medians of times taken in turns in one run, on {metrics["threads"]} threads of
{environment["cpu"]}, onnxruntime {metrics["onnxruntime"]}. Another CPU has others.

## How

{_how(compression)}

## Data

{data["train_images"]:,} training and {data["val_images"]:,} validation images of {name}
(fingerprint {plain(data["fingerprint"])}), the latter a stratified part of the training images,
fixed by the split seed {data["split_seed"]}, never augmented and never trained on.

## Do it again, verify it

With the project that made it:

{chr(10).join(commands)}

The hyperparameters of the training:

| hyperparameter | value |
|---|---|
{fields(config)}

## Use it

Both take pixels as they are: uint8, RGB, of shape (N, 3, 32, 32). Normalisation is inside.

```python
import load_model                     # needs {needs} only
names = load_model.classify(images)   # images: a uint8 {array}
```

```python
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(logits,) = session.run(None, {{"images": images}})   # images: a uint8 numpy array
```

## Intended use and limits

{LIMITS.format(data=name)}

## Files

{_files(quantized)}

Packed on {environment["os"]}, {environment["cpu"]}, with
{plain(versions_in_words(environment["versions"]))}.
"""


def _how(compression: dict[str, Any]) -> str:
    parts = []
    if pruned := compression["prune"]:
        parts.append(
            "Pruned: whole channels and hidden units were cut out until"
            f" {pruned['sparsity']:.0%} of the FLOPs were gone, those first on which the loss"
            " depends least for what they cost (Taylor estimate, Molchanov et al. 2019), which"
            f" leaves the widths {pruned['widths']}. Epochs of training after it, from half the"
            f" learning rate down to 0: {pruned['epochs']}, of which the best by validation"
            " accuracy was kept."
        )
    if quantized := compression["int8"]:
        parts.append(
            "Quantised: static int8 after training, weights by output channel and activations by"
            f" tensor, with the ranges of {quantized['images']} training images (onnxruntime)."
            " A CPU without VNNI instructions may saturate where this one did not: `verify --quick`"
            " shows it."
        )
    return "\n\n".join(parts)


def _files(quantized: bool) -> str:
    if quantized:
        loader = "the same for onnxruntime, as a function"
        return FILES.format(kind=" in int8, which holds its weights", weights="", loader=loader)
    weights = "\n| `weights.safetensors` | the weights that are left, float32 |"
    loader = "the network in plain PyTorch, which loads the weights"
    return FILES.format(kind=" in fp32", weights=weights, loader=loader)
