"""Cut a data set into training and validation, stratified, by a seed of its own."""

from __future__ import annotations

import hashlib

import numpy as np

from vgg6.common.checks import Range, check_integer
from vgg6.data.images import Array, Source, TrialData

SPLIT_SEED = 42


def split(
    source: Source, *, split_seed: int = SPLIT_SEED, limit_train: int | None = None
) -> TrialData:
    """Cut the training images into a training and a stratified validation part.

    Validation is a tenth of the training images (5,000 of CIFAR-10's). ``limit_train`` keeps that
    many training images and a ninth as many for validation (at least 100), subsets of the parts
    that the full split has, so that no image ever changes sides. The split has its own seed: a
    fresh trial seed must not move an image from validation into training.
    """
    if limit_train is not None:
        check_integer("limit_train", limit_train, Range(1, 10**9))
    rng = np.random.default_rng(split_seed)
    val, train = stratified(source.train.labels, len(source.train) // 10, rng)
    if limit_train is not None and limit_train < len(train):
        labels = source.train.labels
        train = train[stratified(labels[train], limit_train, rng)[0]]
        keep = min(len(val), max(100, limit_train // 9))
        val = val[stratified(labels[val], keep, rng)[0]]
    train_part, val_part = source.train.take(np.sort(train)), source.train.take(np.sort(val))
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
    )


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
    return chosen[:count], chosen[count:]
