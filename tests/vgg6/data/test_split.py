"""Training and validation share no image, and a seed and a limit alone decide which is where."""

from __future__ import annotations

import numpy as np
import pytest

from vgg6.common.checks import InputError
from vgg6.data import LabelledImages, Source, split
from vgg6.data.sources import CIFAR10_CLASSES


def _rows(part: LabelledImages) -> set[bytes]:
    return {i.tobytes() for i in part.images}


def _numbered(count: int) -> Source:
    """Images that carry their own row number, unevenly spread over the classes."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, 0, 0, :] = np.array([[i // 65536, i // 256 % 256, i % 256] for i in range(count)])
    labels = np.sort(np.random.default_rng(0).choice(10, count, p=[0.19] + [0.09] * 9))
    whole = LabelledImages(images, labels.astype(np.int64))
    third = (0.5, 0.5, 0.5)
    return Source("numbered", "here", whole, whole.take(np.arange(10)), (), third, third, True)


def test_the_real_images_are_45000_5000_and_10000_balanced(cifar10_source: Source) -> None:
    data = split(cifar10_source)
    for part, count in ((data.train, 45_000), (data.val, 5_000), (cifar10_source.test, 10_000)):
        assert part.images.shape == (count, 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
    assert cifar10_source.classes == CIFAR10_CLASSES
    assert cifar10_source.flip


def test_the_split_covers_the_training_images_and_shares_none() -> None:
    source = _numbered(3000)
    data = split(source)
    train, val = _rows(data.train), _rows(data.val)
    assert not train & val
    assert train | val == _rows(source.train)
    assert (len(train), len(val)) == (2700, 300)
    shares = np.bincount(data.val.labels) / np.bincount(source.train.labels)
    assert np.abs(shares - 0.1).max() < 0.01


def test_the_label_stays_with_its_image() -> None:
    source = _numbered(3000)
    of = {
        i.tobytes(): int(n) for i, n in zip(source.train.images, source.train.labels, strict=True)
    }
    for part in (split(source).train, split(source, limit_train=300).val):
        for image, label in zip(part.images, part.labels, strict=True):
            assert of[image.tobytes()] == label


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    source = _numbered(3000)
    first, same, other = split(source), split(source), split(source, split_seed=1)
    assert first.fingerprint == same.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.train.images, same.train.images)
    assert 0 < len(_rows(first.val) & _rows(other.val)) < 100  # of 300: by chance 30


@pytest.mark.parametrize("limit", [100, 1000, 2000, 2699, 2700, 5000])
def test_a_limit_takes_subsets_and_never_moves_an_image_to_the_other_side(limit: int) -> None:
    source = _numbered(3000)
    full, part = split(source), split(source, limit_train=limit)
    assert _rows(part.train) <= _rows(full.train)
    assert _rows(part.val) <= _rows(full.val)
    assert len(part.train) == min(limit, 2700)
    assert len(part.val) == (300 if limit >= 2700 else min(300, max(100, limit // 9)))
    assert set(part.val.labels) == set(range(10))


@pytest.mark.parametrize("count", [0, -5])
def test_no_images_to_train_on_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"limit_train: {count}"):
        split(_numbered(3000), limit_train=count)


def test_the_fingerprint_sees_one_changed_pixel_and_one_changed_label() -> None:
    prints = {split(_numbered(300)).fingerprint}
    pixel, label = _numbered(300), _numbered(300)
    pixel.train.images[7, 31, 31, 0] ^= 1
    label.train.labels[7] = 9
    prints |= {split(source).fingerprint for source in (pixel, label)}
    assert len(prints) == 3
