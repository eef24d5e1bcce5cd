"""A search's limits: its space is cut before anything is sampled, so that whatever is suggested
fits."""

from __future__ import annotations

from functools import partial

from search_spaces import Space
from search_spaces.cut_to_fit import WIDTH, NothingFits, cut, smallest
from vgg6.common.checks import InputError
from vgg6.footprint.limits import Limit, in_words
from vgg6.footprint.within_limits import fits, taken
from vgg6.run_record import ImageFacts


def fit_to(space: Space, limits: list[Limit], images: ImageFacts) -> Space:
    """The part of ``space`` whose networks are within ``limits``.

    A limit on the time for one image is measured on this machine, once for each width and
    activation that it takes to find the widest network.

    Raises:
        InputError: no network of the space is within them; says how small the smallest is.
    """
    try:
        return cut(space, partial(fits, limits, images=images))
    except NothingFits:
        raise _refusal(space, limits, images) from None


def _refusal(space: Space, limits: list[Limit], images: ImageFacts) -> InputError:
    candidates = smallest(space)
    for limit in limits:
        least = min(taken(limit.kind, config, images) for config in candidates)
        if least > limit.most:
            rule = f"is less than the smallest network of `space` {space.name} takes:"
            rule += f" {in_words(limit.kind, least)}"
            if WIDTH not in space.names:
                rule += ". The space sizes varies the width"
            return InputError(limit.field, limit.most, rule)
    rule = f"is more than a network of `space` {space.name} can keep together with the other limits"
    return InputError(limits[0].field, limits[0].most, rule)
