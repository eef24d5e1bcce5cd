"""Whether a training run may go on to a greater length, or has to begin again."""

from __future__ import annotations

from dataclasses import replace

from vgg6.config import TrialConfig
from vgg6.sharpness import is_sharpened


def why_begun_again(config: TrialConfig, epoch: int, epochs: int) -> str:
    """Why a run that has come to ``epoch`` cannot go on to a length of ``epochs``.

    Empty where its epochs so far are those of a run of that length.
    """
    if config.schedule != "constant":
        return f"its {config.schedule} schedule depends on its length"
    longer = replace(config, epochs=epochs)
    if any(is_sharpened(config, e) != is_sharpened(longer, e) for e in range(1, epoch + 1)):
        return "its last third was sharpened, which depends on its length"
    return ""


def is_start_of(config: TrialConfig, epoch: int, wanted: TrialConfig) -> bool:
    """Whether a run of ``config`` that has come to ``epoch`` is the start of one of ``wanted``."""
    if config == wanted:
        return True
    same = replace(config, epochs=wanted.epochs) == wanted and epoch <= wanted.epochs
    return same and not why_begun_again(config, epoch, wanted.epochs)
