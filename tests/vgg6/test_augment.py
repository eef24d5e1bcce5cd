"""Augmentation equals a plain loop over single images, and each epoch is a fresh, fixed draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vgg6.augment import Normalizer, crop_flip, cut_out, epoch_batches
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import Source, TrialData, split
from vgg6.evaluation import evaluate
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6


def _one_epoch(images: Tensor, labels: Tensor, *, flip: bool = True, **draw: int) -> list[Tensor]:
    draw = {"batch_size": 64, "seed": 1, "epoch": 1} | draw
    return [b for b, _ in epoch_batches(images, labels, draw.pop("batch_size"), flip=flip, **draw)]


@pytest.fixture(scope="module")
def noise() -> tuple[Tensor, Tensor]:
    """500 images in which no two windows are alike, so that each crop gives its offset away."""
    draw = torch.Generator().manual_seed(0)
    return (
        torch.randint(1, 256, (500, 32, 32, 3), dtype=torch.uint8, generator=draw),
        torch.arange(500),
    )


def test_crop_and_flip_equal_a_plain_loop_over_single_images(cifar10_small: TrialData) -> None:
    images = cifar10_small.train.images[:200]
    draw = np.random.default_rng(0)
    top, left = draw.integers(0, 9, (2, 200))
    mirror = draw.integers(0, 2, 200).astype(bool)

    ours = crop_flip(*(torch.from_numpy(a) for a in (images, top, left, mirror)))

    for i, image in enumerate(images):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        crop = padded[top[i] : top[i] + 32, left[i] : left[i] + 32]
        np.testing.assert_array_equal(ours[i].numpy(), np.fliplr(crop) if mirror[i] else crop)


def _draws_of(batch: Tensor, originals: Tensor) -> list[tuple[int, int, bool]]:
    """The (top, left, mirrored) that made each image of ``batch`` from its original."""
    found = []
    for image, original in zip(batch.numpy(), originals.numpy(), strict=True):
        padded = np.pad(original, ((4, 4), (4, 4), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3))[:, :, 0]
        # The middle of the image is in every window: it tells the offset at little cost.
        for mirrored in (False, True):
            seen = np.fliplr(image) if mirrored else image
            same = (windows[:, :, 14:18, 14:18] == seen[14:18, 14:18]).all((2, 3, 4))
            found += [
                (int(t), int(w), mirrored)
                for t, w in np.argwhere(same)
                if (windows[t, w] == seen).all()
            ]
    return found


def test_an_epoch_draws_every_offset_and_both_mirror_images(noise: tuple[Tensor, Tensor]) -> None:
    images, labels = noise
    seen = []
    for batch, order in epoch_batches(images, labels, 64, seed=3, epoch=1, flip=True):
        seen += _draws_of(batch, images[order])
    assert len(seen) == 500  # each is one crop of its own image, and of that one only
    tops, lefts, mirrored = (np.array(column) for column in zip(*seen, strict=True))
    for offsets in (tops, lefts):
        counts = np.bincount(offsets, minlength=9)
        assert len(counts) == 9
        assert counts.min() > 25  # of 56 expected, a spread of 7
    assert 200 < mirrored.sum() < 300
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2
    assert abs(np.corrcoef(tops, mirrored)[0, 1]) < 0.2


def test_without_flip_nothing_is_ever_mirrored(noise: tuple[Tensor, Tensor]) -> None:
    images, labels = noise
    for batch, order in epoch_batches(images, labels, 64, seed=3, epoch=1, flip=False):
        drawn = _draws_of(batch, images[order])
        assert len(drawn) == len(order)
        assert not any(mirrored for _, _, mirrored in drawn)


@pytest.mark.parametrize("batch_size", [1, 64, 250, 499, 500, 501, 4096])
def test_an_epoch_holds_every_image_exactly_once(
    noise: tuple[Tensor, Tensor], batch_size: int
) -> None:
    batches = list(epoch_batches(*noise, batch_size, seed=5, epoch=2, flip=True))
    order = torch.cat([labels for _, labels in batches])
    assert order.sort().values.equal(noise[1])
    assert not order.equal(noise[1])  # shuffled
    assert all(len(labels) == batch_size for _, labels in batches[:-1])
    assert all(images.shape == (len(labels), 32, 32, 3) for images, labels in batches)


def test_the_draw_belongs_to_the_seed_and_the_epoch(noise: tuple[Tensor, Tensor]) -> None:
    first = _one_epoch(*noise)
    torch.rand(10)  # the global generator has no say
    assert all(a.equal(b) for a, b in zip(first, _one_epoch(*noise), strict=True))
    assert not any(a.equal(b) for a, b in zip(first, _one_epoch(*noise, epoch=2), strict=True))
    assert not any(a.equal(b) for a, b in zip(first, _one_epoch(*noise, seed=2), strict=True))


def test_the_batch_size_does_not_change_how_an_image_is_augmented(
    noise: tuple[Tensor, Tensor],
) -> None:
    small, large = (torch.cat(_one_epoch(*noise, batch_size=n)) for n in (7, 500))
    assert small.equal(large)


@pytest.mark.parametrize("side", [1, 5, 8, 32])
def test_cutting_out_equals_a_plain_loop_over_single_images(
    noise: tuple[Tensor, Tensor], side: int
) -> None:
    images = noise[0][:200]
    draw = np.random.default_rng(side)
    rows, columns = draw.integers(0, 32, (2, 200))
    colour = torch.tensor([1, 2, 3], dtype=torch.uint8)

    ours = cut_out(images, torch.from_numpy(rows), torch.from_numpy(columns), side, colour)

    for i, image in enumerate(images.numpy()):
        expected = image.copy()
        top, left = rows[i] - side // 2, columns[i] - side // 2
        expected[max(top, 0) : top + side, max(left, 0) : left + side] = (1, 2, 3)
        np.testing.assert_array_equal(ours[i].numpy(), expected)


def test_an_epoch_with_cutout_differs_from_one_without_in_one_square_of_each_image(
    noise: tuple[Tensor, Tensor],
) -> None:
    def epoch(number: int, **options: Any) -> Tensor:
        batches = epoch_batches(*noise, 64, seed=1, epoch=number, flip=True, **options)
        return torch.cat([images for images, _ in batches])

    asked = {"cutout": 8, "colour": torch.zeros(3, dtype=torch.uint8)}
    plain, cut, again, later = epoch(1), epoch(1, **asked), epoch(1, **asked), epoch(2, **asked)
    assert cut.equal(again)
    assert not cut.equal(later)
    middles = []
    for before, after in zip(plain, cut, strict=True):
        assert (after == before).logical_or(after == 0).all()
        hidden = (after == 0).all(-1)
        # What a crop shows of the padding is black too: only what was not is sure to be cut.
        sure = (hidden & ~(before == 0).all(-1)).nonzero()
        assert len(sure) <= 64
        if len(sure):
            assert (sure.max(0).values - sure.min(0).values < 8).all()
            middles.append(sure.double().mean(0))
    assert len(middles) > 450
    spread = torch.stack(middles)
    assert (spread.min(0).values < 4).all() and (spread.max(0).values > 28).all()


def test_alternating_shows_both_sides_of_every_image_in_any_two_epochs(
    noise: tuple[Tensor, Tensor],
) -> None:
    images, labels = noise

    def mirrored(epoch: int, seed: int = 3, **options: bool) -> Tensor:
        """Whether each image is, in the images' own order; their offsets are beside the point."""
        found = torch.zeros(len(labels), dtype=torch.bool)
        for batch, order in epoch_batches(images, labels, 64, seed=seed, epoch=epoch, **options):
            found[order] = torch.tensor([m for _, _, m in _draws_of(batch, images[order])])
        return found

    first, second, third = (mirrored(e, flip=True, alternate=True) for e in (1, 2, 3))
    assert first.equal(~second) and first.equal(third)
    assert 200 < first.sum() < 300
    assert not first.equal(mirrored(1, seed=4, flip=True, alternate=True))
    assert not mirrored(1, flip=False, alternate=True).any()


def test_how_images_are_mirrored_changes_nothing_else(noise: tuple[Tensor, Tensor]) -> None:
    by_chance, in_turn = (
        list(epoch_batches(*noise, 64, seed=3, epoch=2, flip=True, alternate=alternate))
        for alternate in (False, True)
    )
    for (left, order), (right, same_order) in zip(by_chance, in_turn, strict=True):
        assert order.equal(same_order)
        straight = (left == right).flatten(1).all(1)
        turned = (left == right.flip(2)).flatten(1).all(1)
        assert (straight ^ turned).all()


def test_seeds_for_each_purpose_and_epoch_are_apart_and_fixed() -> None:
    drawn = {
        derive_seed(seed, epoch, purpose)
        for seed in (0, 1, 11, 2**32 - 1)
        for epoch in (0, 1, 11)
        for purpose in ("augment", "dropout", "weights")
    }
    assert len(drawn) == 36
    assert all(0 <= seed < 2**63 for seed in drawn)


def test_the_images_themselves_are_never_written_to(digits_small: TrialData) -> None:
    images = torch.from_numpy(digits_small.train.images)
    before = images.clone()
    _one_epoch(images, torch.from_numpy(digits_small.train.labels))
    assert images.equal(before)


def test_validation_is_never_augmented(cifar10_small: TrialData, runtime: Runtime) -> None:
    parts = resident(cifar10_small, "cpu")
    torch.manual_seed(0)
    model = VGG6(TrialConfig(activation="relu", init="kaiming"))
    seen: list[Tensor] = []

    def normalize(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return parts.normalize(images)

    scores = [
        evaluate(model, parts.val_images, parts.val_labels, normalize, runtime)  # type: ignore[arg-type]
        for _ in range(2)
    ]
    assert scores[0].loss == scores[1].loss
    assert scores[0].confusion.equal(scores[1].confusion)
    assert torch.cat(seen[: len(seen) // 2]).equal(torch.from_numpy(cifar10_small.val.images))


def test_the_normalizer_gives_standardised_channels_last_floats(cifar10_source: Source) -> None:
    data = split(cifar10_source, limit_train=400)
    out = Normalizer(data.mean, data.std, torch.device("cpu"))(
        torch.from_numpy(data.train.images[:50])
    )
    plain = (data.train.images[:50] / 255 - np.array(data.mean)) / np.array(data.std)
    np.testing.assert_allclose(out.numpy(), plain.transpose(0, 3, 1, 2), atol=1e-5)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["cifar10_source", "digits_source"])
def test_the_stated_mean_and_deviation_are_those_of_the_images(
    name: str, request: pytest.FixtureRequest
) -> None:
    source: Source = request.getfixturevalue(name)
    pixels = source.train.images[::5].reshape(-1, 3) / 255
    # The published figures of CIFAR-10 are of the original pixels; JPEG moves them a little.
    np.testing.assert_allclose(pixels.mean(0), source.mean, atol=5e-3)
    np.testing.assert_allclose(pixels.std(0), source.std, atol=8e-3)
