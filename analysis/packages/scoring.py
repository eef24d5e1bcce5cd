"""Score weights on images as the training scored them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgg6.augment import Normalizer
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import NAMES, DataFacts, LabelledImages, TrialData
from vgg6.evaluation import Evaluation, evaluate
from vgg6.hardware.runtime import Runtime
from vgg6.model import with_weights
from vgg6.run_record import RuntimeFacts


def recorded_runtime(facts: RuntimeFacts) -> Runtime:
    """A recorded runtime; this machine's CPU in its place where it wants a GPU and none is here."""
    runtime = Runtime(**facts.to_dict())
    if runtime.device == "cuda" and not torch.cuda.is_available():
        return Runtime.resolve("cpu", runtime.precision)
    return runtime


def data_here(facts: DataFacts, data: str | None) -> DataFacts:
    """The facts of the data with the place where it is found here: ``data``, where given."""
    if data is not None:
        return facts.model_copy(update={"argument": data})
    argument = facts.argument
    if argument not in NAMES and not Path(argument).exists():
        raise InputError("data", argument, "is no folder here: say where the images are")
    return facts


def score(
    config: TrialConfig,
    weights: Mapping[str, Tensor],
    images: LabelledImages,
    data: TrialData,
    runtime: Runtime,
) -> Evaluation:
    """Evaluate weights on any images of a data set, as validation is done while training.

    Args:
        data: gives the normalisation.
    """
    runtime.apply()  # another number of threads sums in another order
    device = torch.device(runtime.device)
    model = runtime.place(with_weights(config, weights))
    # A copy: the decoded cache is a read-only memory map, and torch wants to own what it reads.
    x = torch.from_numpy(np.array(images.images)).to(device)
    y = torch.from_numpy(np.array(images.labels)).to(device)
    return evaluate(model, x, y, Normalizer(data.mean, data.std, device), runtime)
