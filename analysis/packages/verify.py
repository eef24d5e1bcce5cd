"""Verify: does a package give its numbers again, from what is in it alone?"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.packages.environment import machine
from analysis.packages.package import (
    CONFIG,
    METRICS,
    Package,
    check_package,
    load_network,
    package_weights,
    read_package,
)
from analysis.packages.recompress import compressed_again, learnt
from analysis.packages.scoring import located, recorded_runtime, score
from analysis.packages.train import epoch_line, progress_bar
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.data import DataFacts, LabelledImages, TrialData, load_recorded
from vgg6.evaluation import Assessment, Evaluation, assess
from vgg6.hardware.runtime import Runtime, native_bf16
from vgg6.network import Network
from vgg6.onnx_file import OnnxNetwork
from vgg6.training import NonFiniteLoss, TrainState, fit

BIT_IDENTICAL, WITHIN, NOT_REPRODUCED, AS_RECORDED = (
    "bit-identical", "within the seed spread", "not reproduced", "as recorded",
)  # fmt: skip
BOUND = 2.0  # standard deviations
TIMES = {"seconds"}  # columns of the history that no run repeats
EPOCH = "epoch"


def verify(folder: Path, *, quick: bool = False, data: str | None = None) -> dict[str, Any]:
    """Check a package's files, then run it again and compare.

    Args:
        quick: only score the packed weights on the recorded images.
        data: where the images are, if not where they were (as ``data``).

    Returns:
        verdict (bit-identical, within the seed spread, not reproduced; when quick, as recorded or
        not reproduced), why in one sentence, differs (how this machine is not the recorded one),
        and the numbers behind it.

    Raises:
        InputError: a file is missing, altered or not what it should be, by its name; or the data
            is not here, or other data.
    """
    check_package(folder)
    package = read_package(folder)
    network = load_network(folder, package)
    weights = {} if package.quantized else package_weights(folder, package.config, package.widths)
    _check_consistent(folder, package)
    source, images = load_recorded(read_record(DataFacts, located(package.data, data)))
    runtime = recorded_runtime(package.runtime)
    started = time.perf_counter()
    differs = differences(package, runtime)
    for line in differs:
        _say(f"note: {line}")
    if quick:
        found = compare_scores(package, _scorer(package, network, images), images, source.test)
    else:
        found = compare_runs(package, network, weights, images, runtime)
    return {
        "package": str(folder),
        **found,
        "differs": differs,
        "seconds": round(time.perf_counter() - started, 1),
    }


def compare_runs(
    package: Package,
    network: Network | OnnxNetwork,
    weights: Mapping[str, Tensor],
    data: TrialData,
    runtime: Runtime,
) -> dict[str, Any]:
    """Train the package's configuration again, compress it as the package was, and compare every
    value with the recorded one.

    Args:
        weights: the package's, none where they are int8.
    """
    state = TrainState(package.config, runtime)
    length = package.stop_after or package.config.epochs
    history: list[dict[str, Any]] = []
    _say(f"training {package.config.label} again: {length} epochs on {data.name}")
    try:
        with progress_bar() as bar:
            task = bar.add_task("verifying", total=length)
            for metrics in fit(state, data, stop_after=package.stop_after):
                history.append(metrics.to_dict())
                bar.update(task, completed=metrics.epoch)
                _say(epoch_line(metrics, length))
        first = first_difference(package.history, history)
        again, val_acc, tensors = state.best.weights, state.best.val_acc, dict(weights)
        if isinstance(network, OnnxNetwork):
            small = compressed_again(package, again, data, runtime)
            first = first or first_difference(
                package.metrics["epochs_after_pruning"] or [], small.epochs
            )
            val_acc = assess(OnnxNetwork(small.onnx, runtime.threads), data.val).accuracy
            again = learnt(small.onnx) | ({k: small.network.weights[k] for k in weights})
            tensors |= learnt(network.content)
    except NonFiniteLoss as error:
        return {"verdict": NOT_REPRODUCED, "why": str(error)}
    differing = [
        name for name in tensors.keys() | again.keys()
        if name not in again or name not in tensors or not _same_bits(tensors[name], again[name])
    ]  # fmt: skip
    if not differing and first is None:
        why = f"all {len(tensors)} tensors and every value of {len(history)} epochs are the same"
        return {"verdict": BIT_IDENTICAL, "why": why}
    compared = compare_val_acc(package, val_acc, len(data.val))
    verdict = WITHIN if compared["sds"] <= BOUND else NOT_REPRODUCED
    return {
        "verdict": verdict,
        "why": _spread_in_words(compared),
        "val_acc": compared,
        "tensors_differing": len(differing),
        "first_difference": first,
    }


def _scorer(
    package: Package, network: Network | OnnxNetwork, data: TrialData
) -> Callable[[LabelledImages], Evaluation | Assessment]:
    """How the package's own scores were made: by training's validation, or of its model.onnx."""
    if isinstance(network, OnnxNetwork):
        return lambda images: assess(network, images)
    return lambda images: score(package.config, network.weights, images, data, network.runtime)


def compare_val_acc(package: Package, again: float, images: int) -> dict[str, Any]:
    """How far two runs' validation accuracies are apart, in standard deviations of a difference.

    The spread of one run is that of the confirmed seeds where there is one, else the binomial
    standard error of the score; the variance of a difference of two runs is the sum of theirs. Both
    runs see the same images, which makes the binomial one an upper bound.
    """
    recorded = package.metrics["val_acc"]
    confirmed = package.metrics.get("confirmed") or {}
    sd = confirmed.get("sd")
    if sd:
        spread, source = sd * math.sqrt(2), f"{len(confirmed['seeds'])} confirmed seeds"
    else:
        variances = [p * (1 - p) / images for p in (recorded, again)]
        spread, source = math.sqrt(sum(variances)), "the binomial error of two scores"
    difference = again - recorded
    sds = abs(difference) / spread if spread else math.inf if difference else 0.0
    return {
        "recorded": recorded, "again": again, "difference": difference,
        "sd_of_difference": spread, "sd_from": source, "sds": sds, "bound": BOUND,
    }  # fmt: skip


def first_difference(
    recorded: list[dict[str, Any]], again: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The first value that is not the same, or None. Times are not compared."""
    for old, new in zip(recorded, again, strict=False):
        for name, value in new.items():
            if name not in TIMES and old.get(name) != value:
                where = {"epoch": new[EPOCH], "column": name}
                return where | {"recorded": old.get(name), "again": value}
    if len(recorded) != len(again):
        return {"epochs": len(recorded), "again": len(again)}
    return None


# How far the same weights may score apart on the same images. Between bf16 and fp32, the coarsest
# change of rounding that a machine can make, four networks (four activations and optimizers, three
# norms, 5 epochs on 6,000 images of CIFAR-10) changed their accuracy on 5,000 images by 0.0006 to
# 0.0018 and their loss by less than 0.0001 of itself. Three and fifty times that: longer training
# gives greater logits, which round more coarsely. Other weights miss the loss by far more.
ACCURACY_TOLERANCE, LOSS_TOLERANCE = 0.005, 0.005


def compare_scores(
    package: Package,
    scorer: Callable[[LabelledImages], Evaluation | Assessment],
    data: TrialData,
    test: LabelledImages,
) -> dict[str, Any]:
    """Score the packed network; compare with what the package says, within rounding.

    The test images are read only where the package has their score: the same weights once more,
    which nothing is chosen by.
    """
    best = next(r for r in package.history if r[EPOCH] == package.metrics["best_epoch"])
    recorded = {"validation": (data.val, best["val_acc"], best["val_loss"])}
    if package.compression is not None:
        after = package.metrics["after"]
        recorded = {"validation": (data.val, after["accuracy"], after["loss"])}
    if tested := package.metrics.get("test"):
        recorded["test"] = (test, tested["accuracy"], tested["loss"])
    compared, wrong = {}, []
    for part, (images, accuracy, loss) in recorded.items():
        again = scorer(images)
        compared[part] = {
            "accuracy": {"recorded": accuracy, "again": again.accuracy},
            "loss": {"recorded": loss, "again": again.loss},
            "images": len(images),
        }
        # One image is always allowed: of a hundred, it is more than the tolerance.
        allowed = max(ACCURACY_TOLERANCE, 1 / len(images)) + 1e-9
        if abs(again.accuracy - accuracy) > allowed:
            wrong.append(f"{part} accuracy {accuracy:.4f} recorded, {again.accuracy:.4f} here")
        if abs(again.loss - loss) > LOSS_TOLERANCE * max(loss, again.loss):
            wrong.append(f"{part} loss {loss:.4f} recorded, {again.loss:.4f} here")
    why = "; ".join(wrong) or "the packed weights score what the package says on " + " and ".join(
        f"{found['images']:,} {part} images" for part, found in compared.items()
    )
    return {"verdict": NOT_REPRODUCED if wrong else AS_RECORDED, "why": why, "scores": compared}


def differences(package: Package, runtime: Runtime) -> list[str]:
    """How this machine is not the one that trained the package, each as a sentence's worth."""
    recorded, here = package.environment, machine()
    found = []
    asked = Runtime(**package.runtime)
    if runtime != asked:
        found.append(
            f"trained on {asked.device}, of which there is none here:"
            f" {runtime.device}, {runtime.precision}, {runtime.threads} threads are taken"
        )
    if runtime.device == "cpu" and runtime.threads > here["cpus"]:
        found.append(f"{runtime.threads} threads share the {here['cpus']} CPUs of this machine")
    if (runtime.device, runtime.precision) == ("cpu", "bf16") and not native_bf16():
        found.append("this CPU has no bf16 of its own: it is emulated, slowly, and may round apart")
    for name in ("cpu", "instructions", "gpus"):
        if recorded[name] != here[name]:
            found.append(f"{name}: packed on {recorded[name]}, here {here[name]}")
    versions = recorded.get("versions_of_search") or recorded["versions"]
    for name in ("torch", "numpy"):
        if name in versions and versions[name] != here["versions"][name]:
            found.append(f"{name} {versions[name]} recorded, {here['versions'][name]} here")
    return found


def render(found: dict[str, Any]) -> str:
    """The result for a person: the verdict first."""
    lines = [f"{found['verdict']}: {found['why']}"]
    if first := found.get("first_difference"):
        where = ", ".join(f"{k} {v}" for k, v in first.items())
        lines.append(f"  first difference: {where}")
    return "\n".join(lines)


def _spread_in_words(compared: dict[str, Any]) -> str:
    return (
        f"validation accuracy {compared['recorded']:.4f} recorded, {compared['again']:.4f} now:"
        f" {compared['sds']:.2f} standard deviations of a difference between two runs"
        f" ({compared['sd_of_difference']:.4f}, from {compared['sd_from']}); the bound is {BOUND:g}"
    )


def _check_consistent(folder: Path, package: Package) -> None:
    """A package whose own files contradict each other cannot be compared with anything."""
    length = package.stop_after or package.config.epochs
    if [row[EPOCH] for row in package.history] != list(range(1, length + 1)):
        raise InputError(
            "package", str(folder / CONFIG), f"promises {length} epochs, history has not"
        )
    best = max(package.history, key=lambda row: row["val_acc"])
    trained = package.metrics["val_acc" if package.compression is None else "trained_val_acc"]
    metrics = (trained, package.metrics["best_epoch"])
    if metrics != (best["val_acc"], best[EPOCH]):
        rule = (
            f"says {metrics[0]} at epoch {metrics[1]}; history {best['val_acc']} at {best[EPOCH]}"
        )
        raise InputError("package", str(folder / METRICS), rule)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    a, b = (t.detach().cpu().contiguous() for t in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
