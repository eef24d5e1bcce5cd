"""``verify --quick``: do the packed weights still score what the package says?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.packages.package_metrics import CompressedMetrics
from analysis.packages.package_schema import Package
from analysis.packages.scoring import score
from analysis.verification.verdict import (
    AS_RECORDED,
    NOT_REPRODUCED,
    ComparedScores,
    Pair,
    Verified,
)
from vgg6.data import LabelledImages, TrialData
from vgg6.evaluation import Assessment, Evaluation, assess
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork

# How far the same weights may score apart on the same images. Between bf16 and fp32, the coarsest
# change of rounding that a machine can make, four networks (four activations and optimizers, three
# norms, 5 epochs on 6,000 images of CIFAR-10) changed their accuracy on 5,000 images by 0.0006 to
# 0.0018 and their loss by less than 0.0001 of itself. Three and fifty times that: longer training
# gives greater logits, which round more coarsely. Other weights miss the loss by far more.
ACCURACY_TOLERANCE, LOSS_TOLERANCE = 0.005, 0.005


def compare_scores(
    package: Package, network: Network | OnnxNetwork, data: TrialData, test: LabelledImages
) -> Verified:
    """Score the packed network; compare with what the package says, within rounding.

    The test images are read only where the package has their score: the same weights once more,
    which nothing is chosen by.
    """
    metrics = package.metrics
    best = next(row for row in package.history if row.epoch == metrics.best_epoch)
    known = (best.val_acc, best.val_loss, best.val_balanced_acc)
    if isinstance(metrics, CompressedMetrics):
        after = metrics.after
        known = (after.accuracy, after.loss, after.balanced_accuracy)
    recorded = {"validation": (data.val, *known)}
    if tested := metrics.test:
        recorded["test"] = (test, tested.accuracy, tested.loss, tested.balanced_accuracy)
    compared, wrong = {}, []
    for part, (images, accuracy, loss, balanced) in recorded.items():
        again = _scored(package, network, data, images)
        found = ComparedScores(Pair(accuracy, again.accuracy), Pair(loss, again.loss), len(images))
        if package.metric.balanced and balanced is not None:
            here = again.balanced_accuracy
            found = replace(found, balanced_accuracy=Pair(balanced, here))
            counts = np.bincount(images.labels)
            image = 1 / (np.count_nonzero(counts) * counts[counts > 0].min())
            if abs(here - balanced) > max(ACCURACY_TOLERANCE, image) + 1e-9:
                wrong.append(f"{part} balanced accuracy {balanced:.4f} recorded, {here:.4f} here")
        compared[part] = found
        # One image is always allowed: of a hundred, it is more than the tolerance.
        allowed = max(ACCURACY_TOLERANCE, 1 / len(images)) + 1e-9
        if abs(again.accuracy - accuracy) > allowed:
            wrong.append(f"{part} accuracy {accuracy:.4f} recorded, {again.accuracy:.4f} here")
        if abs(again.loss - loss) > LOSS_TOLERANCE * max(loss, again.loss):
            wrong.append(f"{part} loss {loss:.4f} recorded, {again.loss:.4f} here")
    why = "; ".join(wrong) or "the packed weights score what the package says on " + " and ".join(
        f"{one.images:,} {part} images" for part, one in compared.items()
    )
    return Verified(NOT_REPRODUCED if wrong else AS_RECORDED, why, scores=compared)


def _scored(
    package: Package, network: Network | OnnxNetwork, data: TrialData, images: LabelledImages
) -> Evaluation | Assessment:
    """As the package's own scores were made: by training's validation, or of its model.onnx."""
    if isinstance(network, OnnxNetwork):
        return assess(network, images)
    return score(package.config, network.weights, images, data, network.runtime)
