"""What the winner gets wrong on validation images: its confusion matrix and a few mistakes."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from analysis.packages.scoring import recorded_runtime
from analysis.packages.weights import run_weights
from analysis.winner.export import choose
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.data import DataFacts, load_recorded
from vgg6.evaluation import EVAL_BATCH
from vgg6.hardware.runtime import resident
from vgg6.model import with_weights
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import History
from vgg6.tuning.run.records import read_search

SHOWN, SCALE = 24, 2


def mistakes(run: RunFolder, history: History) -> dict[str, Any]:
    """The winner's kept weights on the validation images.

    Returns ``what`` (the run they are of), ``classes``, ``confusion`` (true down, predicted across)
    and ``wrong``: the surest mistakes, each with true and predicted class, the probability given to
    the predicted one and the image as a PNG data URI. Or ``missing``: why there is none of it.
    """
    try:
        chosen = choose(run, history)
        config, weights = run_weights(run, chosen.weights)
        facts = read_search(run)
        source, data = load_recorded(read_record(DataFacts, facts["data"]))
    except InputError as error:
        return {"missing": str(error)}
    runtime = recorded_runtime(facts["runtime"])
    runtime.apply()
    model = with_weights(config, weights).eval()
    model = model.to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = resident(data, runtime.device)
    found = []
    with torch.inference_mode(), runtime.autocast():
        for start in range(0, len(parts.val_labels), EVAL_BATCH):
            images = parts.val_images[start : start + EVAL_BATCH]
            found.append(model(parts.normalize(images)).float().softmax(1).cpu())
    probability, predicted = torch.cat(found).max(1)
    labels = parts.val_labels.cpu()
    classes = list(source.classes)
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (labels.numpy(), predicted.numpy()), 1)
    wrong = torch.nonzero(labels != predicted).flatten()
    surest = wrong[probability[wrong].argsort(descending=True, stable=True)][:SHOWN]
    return {
        "what": chosen.what,
        "classes": classes,
        "confusion": matrix.tolist(),
        "wrong": [
            {
                "true": classes[labels[i]],
                "predicted": classes[predicted[i]],
                "probability": float(probability[i]),
                "image": _data_uri(np.asarray(data.val.images[i])),
            }
            for i in surest.tolist()
        ],
        "images": len(labels),
    }


def _data_uri(image: np.ndarray) -> str:
    picture = Image.fromarray(image).resize((32 * SCALE, 32 * SCALE), Image.Resampling.NEAREST)
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
