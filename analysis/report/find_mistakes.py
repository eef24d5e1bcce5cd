"""Finds what the winner gets wrong, by scoring its weights on the validation images."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from analysis.packages.scoring import recorded_runtime
from analysis.packages.weights import run_weights
from analysis.report.mistakes import Mistake, Mistakes
from analysis.winner.chosen_run import choose
from vgg6.data import load_recorded
from vgg6.evaluation import logits_of
from vgg6.network import Network
from vgg6.tuning.run.search import Search

SHOWN, SHOWN_SIDE = 24, 64  # images; pixels of an edge, about


def find_mistakes(search: Search) -> Mistakes:
    """Score the winner on its validation images. To look at a search downloads nothing.

    Raises:
        InputError: its weights or the images are not here, or are not what was recorded.
    """
    chosen = choose(search)
    source, data = load_recorded(search.facts.data, fetch=False)
    task, epoch = search.facts.data.task, chosen.rows[-1].best_epoch
    config, weights = run_weights(search.folder, chosen.weights, task, epoch)
    runtime = recorded_runtime(search.facts.runtime)
    logits = logits_of(Network(config, weights, data.mean, data.std, runtime), data.val.images)
    probability, predicted = torch.from_numpy(logits).softmax(1).max(1)
    labels = torch.from_numpy(np.array(data.val.labels))
    classes = list(source.classes)
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (labels.numpy(), predicted.numpy()), 1)
    wrong = torch.nonzero(labels != predicted).flatten()
    surest = wrong[probability[wrong].argsort(descending=True, stable=True)][:SHOWN]
    mistakes = [
        Mistake(
            classes[labels[i]], classes[predicted[i]], float(probability[i]),
            _data_uri(np.asarray(data.val.images[i])),
        )
        for i in surest.tolist()
    ]  # fmt: skip
    return Mistakes(chosen.what, classes, matrix.tolist(), mistakes, len(labels))


def _data_uri(image: np.ndarray) -> str:
    side = max(1, SHOWN_SIDE // len(image)) * len(image)
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
