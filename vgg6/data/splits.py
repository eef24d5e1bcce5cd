"""Cut a data set into training and validation, stratified, by a seed of its own."""

from __future__ import annotations

import hashlib

import numpy as np

from vgg6.common.checks import InputError, Range, check_integer
from vgg6.common.machine import available_memory
from vgg6.data.images import Array, Source, TrialData
from vgg6.task import STUDY

SPLIT_SEED = 42
COPIES = 2  # of a trial's images in memory


def split(
    source: Source, *, split_seed: int = SPLIT_SEED, limit_train: int | None = None
) -> TrialData:
    """Cut the training images into a training and a stratified validation part.

    Validation is the data set's own part, or else a tenth of the training images (5,000 of
    CIFAR-10's). ``limit_train`` keeps that
    many training images and a ninth as many for validation (at least 100), subsets of the parts
    that the full split has, so that no image ever changes sides. The split has its own seed: a
    fresh trial seed must not move an image from validation into training.
    """
    if limit_train is not None:
        check_integer("limit_train", limit_train, Range(1, 10**9))
    rng = np.random.default_rng(split_seed)
    whole = source.train if source.val is None else source.val  # what validation is taken from
    if source.val is None:
        val, train = stratified(whole.labels, len(whole) // 10, rng)
    else:
        val, train = np.arange(len(source.val)), np.arange(len(source.train))
    if limit_train is not None and limit_train < len(train):
        train = train[stratified(source.train.labels[train], limit_train, rng)[0]]
        keep = min(len(val), max(100, limit_train // 9))
        val = val[stratified(whole.labels[val], keep, rng)[0]]
    _check_memory(source, len(train) + len(val))
    train_part, val_part = source.train.take(np.sort(train)), whole.take(np.sort(val))
    digest = hashlib.sha256()
    for part in (train_part, val_part):
        digest.update(part.images.data)
        digest.update(part.labels.data)
    return TrialData(
        source.name,
        train_part,
        val_part,
        source.mean,
        source.std,
        source.flip,
        digest.hexdigest()[:12],
        len(source.classes) or STUDY.classes,
    )


def _check_memory(source: Source, images: int) -> None:
    """Raise InputError where so many images of ``source`` do not fit into memory: once here and
    once where all trials read them."""
    needed, free = COPIES * images * source.image_size**2 * 3, available_memory()
    if needed > free:
        rule = (
            f"has {images:,} images of {source.image_size}x{source.image_size} pixels to train and"
            f" validate on. They take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are"
            " free: a smaller `image_size` takes less, and `limit_train` fewer images"
        )
        raise InputError("data", source.origin, rule)


def stratified(labels: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random positions: ``count`` of them with the classes in proportion, and all the others."""
    order = rng.permutation(len(labels))
    # Ranking each image within its class, as a fraction of the class, and cutting the sorted
    # ranks at ``count`` keeps every class within one image of its share.
    rank = np.empty(len(labels))
    for cls in np.unique(labels):
        members = order[labels[order] == cls]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.lexsort((order, rank))
    return _with_each_class(labels, chosen, count)


def _with_each_class(labels: Array, chosen: Array, count: int) -> tuple[Array, Array]:
    """Cut at ``count``, so that each class has an image on both sides where it has two at all.

    A class of few images may have none among the first ones. Its first image then takes the place
    of the last one of the class that has most there.
    """
    first, rest = chosen[:count].copy(), chosen[count:].copy()
    counts = np.bincount(labels[first], minlength=int(labels.max(initial=0)) + 1)
    left = np.bincount(labels[rest], minlength=len(counts))
    for cls in np.flatnonzero((counts == 0) & (left > 1)):
        largest = int(counts.argmax())
        if counts[largest] < 2:
            break
        out = np.flatnonzero(labels[first] == largest)[-1]
        into = np.flatnonzero(labels[rest] == cls)[0]
        first[out], rest[into] = rest[into], first[out]
        counts[largest] -= 1
        counts[cls] += 1
    return first, rest
