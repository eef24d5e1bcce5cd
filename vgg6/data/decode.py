"""Decodes the pictures of a data set, in parallel, into arrays on disk that are then mapped."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vgg6.common.checks import InputError
from vgg6.common.machine import usable_cpus
from vgg6.common.numbers_in_words import counted
from vgg6.data.images import Array, LabelledImages
from vgg6.data.listing import TEST, TRAIN, Encoded, Listing, PartListing
from vgg6.data.picture_formats import NoPicture, Picture, decode, resized
from vgg6.data.splits import stratified

NAMED = 3  # damaged pictures that an error names
ROUNDED = 4  # decimals of mean and standard deviation


@dataclass
class Seen:
    """What was met while decoding. ``sizes``: of the pictures before, (0, 0) where they differ;
    ``damaged``: those left out, each as file and rule."""

    sizes: set[tuple[int, int]] = field(default_factory=set)
    grey: bool = True
    handled: Counter[str] = field(default_factory=Counter)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def add(self, picture: Picture) -> None:
        if len(self.sizes) < 2:
            self.sizes.add(picture.size)
        self.grey = self.grey and picture.grey
        self.handled.update(picture.handled)


@dataclass(frozen=True)
class Destination:
    """Where a part's pictures go: for each, the name of a part and the row in it."""

    part: Array
    row: Array


def held_out(listing: Listing) -> dict[str, Destination]:
    """Where each picture goes: into its own part, but for a stratified tenth of the training images
    that becomes the test part where there is none. No setting changes which these are."""
    found = {}
    for name, part in listing.parts.items():
        parts, rows = np.full(len(part.labels), name), np.arange(len(part.labels))
        if name == TRAIN and TEST not in listing.parts:
            test, rest = stratified(
                part.labels, max(1, len(part.labels) // 10), np.random.default_rng(0)
            )
            parts[test] = TEST
            for own in (np.sort(test), np.sort(rest)):
                rows[own] = np.arange(len(own))
        found[name] = Destination(parts, rows)
    return found


Allocate = Callable[[str, tuple[int, ...]], Array]


def decode_all(
    listing: Listing, side: int, skip_damaged: bool, allocate: Allocate
) -> tuple[dict[str, LabelledImages], Seen]:
    """The images of each part, resized to ``side`` pixels an edge.

    Args:
        allocate: gives an array of uint8 for the part of that name, of that shape.

    Raises:
        InputError: a picture is damaged, and such are not to be skipped; names the first ones.
    """
    places, seen = held_out(listing), Seen()
    counts = Counter(str(name) for place in places.values() for name in place.part)
    pixels = {name: allocate(name, (count, side, side, 3)) for name, count in counts.items()}
    labels = {name: np.zeros(count, np.int64) for name, count in counts.items()}
    whole = {name: np.zeros(count, bool) for name, count in counts.items()}
    with _bar() as bar, ThreadPoolExecutor(usable_cpus()) as pool:
        task = bar.add_task("decoding", total=sum(counts.values()))
        for name, part in listing.parts.items():
            place = places[name]

            def work(
                start: int, chunk: Sequence[Encoded], part: PartListing = part,
                place: Destination = place,
            ) -> tuple[int, Seen]:  # fmt: skip
                return len(chunk), _decode_chunk(start, chunk, part, place, pixels, whole, side)

            waiting: deque[Future[tuple[int, Seen]]] = deque()
            start = 0
            for chunk in part.chunks():
                waiting.append(pool.submit(work, start, chunk))
                start += len(chunk)
                if len(waiting) > 2 * usable_cpus():  # what is read waits in memory
                    _take(waiting.popleft(), seen, bar, task)
            while waiting:
                _take(waiting.popleft(), seen, bar, task)
            for own in counts:
                mine = place.part == own
                labels[own][place.row[mine]] = part.labels[mine]
    if seen.damaged and not skip_damaged:
        raise _damaged(seen.damaged)
    parts = {}
    for name, images in pixels.items():
        kept = whole[name]
        parts[name] = LabelledImages(images if kept.all() else images[kept], labels[name][kept])
    return parts, seen


def _take(done: Future[tuple[int, Seen]], seen: Seen, bar: Progress, task: object) -> None:
    count, found = done.result()
    seen.sizes |= found.sizes
    seen.grey = seen.grey and found.grey
    seen.handled += found.handled
    seen.damaged += found.damaged
    bar.advance(task, count)  # type: ignore[arg-type]


def _decode_chunk(
    start: int,
    chunk: Sequence[Encoded],
    part: PartListing,
    place: Destination,
    pixels: dict[str, Array],
    whole: dict[str, Array],
    side: int,
) -> Seen:
    seen = Seen()
    for row, encoded in enumerate(chunk, start):
        try:
            if isinstance(encoded, np.ndarray):
                shape = encoded.shape
                size, grey = (shape[1], shape[0]), shape[2:] != (3,)
                picture = Picture(resized(encoded, side), size, grey, ())
            else:
                picture = decode(_read(encoded), side)
        except NoPicture as error:
            where, what = part.where(row)
            seen.damaged.append((where, f"{what}: {error}"))
            continue
        name, target = str(place.part[row]), place.row[row]
        pixels[name][target] = picture.pixels
        whole[name][target] = True
        seen.add(picture)
    return seen


def _read(encoded: Path | bytes | None) -> bytes | None:
    if not isinstance(encoded, Path):
        return encoded
    try:
        return encoded.read_bytes()
    except OSError as error:
        raise NoPicture(error.strerror or str(error)) from None


def _damaged(found: list[tuple[str, str]]) -> InputError:
    (where, what), others = found[0], found[1:]
    more = ""
    if others:
        named = ", ".join(Path(place).name for place, _ in others[: NAMED - 1])
        more = f". So do {counted(len(others), 'other picture')} ({named}"
        more += ", ...)" if len(others) >= NAMED else ")"
    return InputError("data", where, f"{what}{more}. `skip_damaged` leaves such pictures out")


def colours_of(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each colour, as shares of 255, of images (N, S, S, 3)."""
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(images), 5000):
        part = images[start : start + 5000].reshape(-1, 3)
        counts = [np.bincount(part[:, c], minlength=256) for c in range(3)]
        total += [float(n @ np.arange(256)) for n in counts]
        squares += [float(n @ np.arange(256) ** 2) for n in counts]
    count = images[..., 0].size
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # images of one colour have none
    rounded = [[round(float(v) / 255, ROUNDED) for v in values] for values in (mean, spread)]
    return tuple(rounded[0]), tuple(rounded[1])


def _bar() -> Progress:
    """A bar on standard error, drawn only on a terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
    )  # fmt: skip
