"""Loss, accuracy and the confusion matrix of a model on labelled images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.runtime import Runtime

EVAL_BATCH = 500


@dataclass(frozen=True)
class Evaluation:
    """``loss``: mean cross-entropy in nats; ``accuracy``: in 0 to 1; ``confusion``: int64 (10, 10),
    true classes down, predicted classes across."""

    loss: float
    accuracy: float
    confusion: Tensor


@torch.inference_mode()
def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, normalize: Normalizer, runtime: Runtime
) -> Evaluation:
    """Score ``model`` without augmentation or dropout.

    Args:
        images: uint8 (N, 32, 32, 3) on the runtime's device. labels: int64 (N,) there too.
    """
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    predicted = torch.empty_like(labels)
    for start in range(0, len(labels), EVAL_BATCH):
        rows = slice(start, start + EVAL_BATCH)
        with runtime.autocast():
            logits = model(normalize(images[rows])).float()
        loss += F.cross_entropy(logits, labels[rows], reduction="sum")
        predicted[rows] = logits.argmax(1)
    classes = logits.shape[1]
    confusion = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    correct = (predicted == labels).sum()
    n = len(labels)
    return Evaluation(loss.item() / n, correct.item() / n, confusion.view(classes, classes).cpu())
