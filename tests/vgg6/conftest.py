"""A few real images, for tests of how a network is trained on them."""

from __future__ import annotations

import pytest

from vgg6.data import Source, TrialData, split


@pytest.fixture(scope="module")
def tiny(digits_source: Source) -> TrialData:
    """60 training images: four batches of 16, the last one short."""
    return split(digits_source, limit_train=60)
