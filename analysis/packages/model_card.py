"""README.md of a package: what it is, what it scores and what that means, how to run it again."""

from __future__ import annotations

from typing import Any

from vgg6.common.markdown import fenced, plain
from vgg6.config import TrialConfig
from vgg6.model import count_parameters

FILES = """\
| file | what it is |
|---|---|
| `config.yaml` | every hyperparameter, the data with its fingerprint, the arithmetic |
| `weights.safetensors` | the weights of the best epoch by validation accuracy, float32 |
| `history.csv` | the metrics of every epoch |
| `metrics.json` | the scores above, with their intervals |
| `environment.json` | versions, device, threads, CPU |
| `model.onnx` | the network in fp32, its normalisation inside |
| `load_model.py` | the network in plain PyTorch, which loads the weights |
| `SHA256SUMS` | checksums of all the others: `sha256sum -c SHA256SUMS` |"""

LOADING = """\
Both take pixels as they are: uint8, RGB, of shape (N, 3, 32, 32). Normalisation is
inside, so it cannot be forgotten or done twice.

```python
import load_model                     # needs torch and safetensors only
names = load_model.classify(images)   # images: a uint8 tensor
```

```python
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(logits,) = session.run(None, {{"images": images}})   # images: a uint8 numpy array
```

They compute in fp32 and give the same logits but for rounding.{precision}

In this project,
`analysis.packages.package.read_package` and `package_weights` read the folder."""

VERIFYING = (
    "python tune_vgg6.py verify THIS_FOLDER           # trains it again from this folder, and"
    " compares",
    "python tune_vgg6.py verify THIS_FOLDER --quick   # scores the packed weights only",
)

LIMITS = """\
For learning and for comparing hyperparameters. The network knows ten classes and answers with one
of them whatever it is shown; its logits are no calibrated probabilities. It has seen {data} only,
and how it does on images of other sources or on altered ones has not been measured. Do not decide
about people with it."""


def model_card(
    title: str,
    config: TrialConfig,
    data: dict[str, Any],
    metrics: dict[str, Any],
    environment: dict[str, Any],
    stop_after: int | None,
    command: str,
) -> str:
    """The text of the card.

    Args:
        data: what ``data_facts`` recorded. metrics, environment: as in the package's files.
        stop_after: the epoch after which the run ended early, None at full length.
        command: that trains it again.
    """
    length = f"{config.epochs} epochs"
    if stop_after is not None:
        length = f"{stop_after} of {config.epochs} epochs (its learning rate's schedule is of all)"
    used = f"{environment['device']}, {environment['precision']}, {environment['threads']} threads"
    precision = ""
    if environment["precision"] != "fp32":
        precision = (
            f" It was trained and scored in {environment['precision']}, so a few images in a"
            " thousand may be classified otherwise."
        )
    values = fields(config)
    name, versions = plain(data["name"]), plain(versions_in_words(environment["versions"]))
    fingerprint = plain(data["fingerprint"])
    commands = "\n".join(fenced([command, *VERIFYING]))
    return f"""\
# {plain(title)}

VGG6, a small convolutional network ({count_parameters(config):,} parameters) with the activation
{config.activation}, that sorts 32x32 colour images into {len(data["classes"])} classes:
{plain(", ".join(data["classes"]))}.

## Results

{_results(metrics, data)}

## Data

{data["train_images"]:,} training and {data["val_images"]:,} validation images of {name}
(fingerprint {fingerprint}). Validation is a stratified part of the training images, fixed
by the split seed {data["split_seed"]}, never augmented and never trained on; the test images are
the data set's own. Pixels are normalised with mean {tuple(data["mean"])} and standard deviation
{tuple(data["std"])}.

## Hyperparameters

Trained for {length}; the weights are those of epoch {metrics["best_epoch"]}.

| hyperparameter | value |
|---|---|
{values}

## Train it again, verify it

With the project that made it:

{commands}

It was trained on {used}. The same machine and versions give the same bits; others round
differently, and `verify` then says how many standard deviations apart the scores are.

## Use it

{LOADING.format(precision=precision)}

## Intended use and limits

{LIMITS.format(data=name)}

## Files

{FILES}

Packed on {environment["os"]}, {environment["cpu"]}, with {versions}.
"""


def _results(metrics: dict[str, Any], data: dict[str, Any]) -> str:
    rows = ["| score | value | 95 % interval | what it means |", "|---|---|---|---|"]
    confirmed, test = metrics.get("confirmed"), metrics.get("test")
    own = "of this package's weights; the interval is that of counting on so many images (Wilson)"
    if confirmed:
        seeds = confirmed["seeds"]
        rows += [
            f"| validation accuracy, mean | {_share(confirmed['mean'])} | {span(confirmed)} |"
            f" over {len(seeds)} fresh seeds ({', '.join(map(str, seeds))}), standard deviation"
            f" {_share(confirmed['sd'])}: what to expect of this configuration (Student's t) |",
            f"| the search's single score | {_share(confirmed['search_score'])} | |"
            f" what made it a candidate: {confirmed['optimism']:+.4f} above the mean, the price of"
            " choosing the highest of many |",
        ]
        own += "; the run in the middle"
    elif "selected_from" in metrics:
        own += (
            f". The highest of {metrics['selected_from']} scores and so **optimistic**: it has not"
            " been confirmed over fresh seeds"
        )
    interval = span(metrics["val_acc_interval"])
    rows.append(f"| validation accuracy | {_share(metrics['val_acc'])} | {interval} | {own} |")
    if test:
        rows.append(
            f"| test accuracy | {_share(test['accuracy'])} | {span(test)} | on {test['images']:,}"
            f" images that had no part in any choice (Wilson); {test['note']} |"
        )
    notes = [metrics["warning"]] if "warning" in metrics else []
    if confirmed:
        notes.append(plain(confirmed["why"]))
    if not test:
        notes.append("The test images have not been scored.")
    return "\n".join(rows) + "".join(f"\n\n{note}" for note in notes)


def fields(config: TrialConfig) -> str:
    """The rows of a table of the hyperparameters."""
    return "\n".join(f"| {k} | {v} |" for k, v in config.to_dict().items() if v is not None)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def span(interval: dict[str, Any]) -> str:
    if interval["low"] is None:
        return "unknown"
    return f"{interval['low']:.4f} to {interval['high']:.4f}"


def versions_in_words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
