"""What a command says of the images that it found, before it uses them."""

from __future__ import annotations

import re

from vgg6.common.say import say
from vgg6.data import Source, TrialData
from vgg6.data.remarks import remarks


def say_what_is_odd(source: Source, data: TrialData, flip: str | None = None) -> None:
    """How the images lie on disk in one line, and a line for whatever is odd about them.

    Args:
        flip: what the user asked for of mirroring.
    """
    for line in remarks(source, data, flip):
        say(re.sub(r"`(\w+)`", lambda m: "--" + m[1].replace("_", "-"), line))
