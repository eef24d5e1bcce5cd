"""Data sets of picture files: a folder a class, with or without a folder for each part above them.

The order of the pictures decides how they are split and shuffled. It is that of the numbers in
their names, whatever their class: see ``numbered``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import counted
from vgg6.data.listing import (
    CHUNK,
    PART_NAMES,
    TRAIN,
    Encoded,
    Listing,
    PartListing,
    label_numbers,
    natural,
    numbered,
)
from vgg6.data.picture_formats import SUFFIXES

SKIPPED = (".", "__MACOSX")  # how folders begin that hold no class


@dataclass
class _Found:
    """The pictures of one part by class; ``others``: files that are none; ``loose``: pictures that
    lie in no class's folder."""

    classes: dict[str, list[Path]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)


def list_class_folders(folder: Path) -> Listing | None:
    """The pictures below ``folder``, if they lie in a folder for each class; else None.

    Raises:
        InputError: a part has pictures without a class, or a class that training lacks; names it.
    """
    parts = {
        part: found
        for part, path in part_folders(folder).items()
        if (found := _scan(path)).classes or found.loose
    }
    if parts.get(TRAIN, _Found()).classes:
        for part, found in parts.items():
            if found.loose:
                rule = f"has no class: pictures of the {part} part lie in a folder for each class"
                raise InputError("data", str(found.loose[0]), rule)
    else:
        found = _scan(folder)
        if not found.classes or _only_wraps(folder, found):
            return None
        parts = {TRAIN: found}
    names = tuple(sorted(parts[TRAIN].classes, key=natural))
    for part, found in parts.items():
        if foreign := sorted(found.classes.keys() - set(names), key=natural):
            rule = f"is a class of the {part} part that has no training image"
            raise InputError("data", foreign[0], rule)
    listed = {part: _part(found, names) for part, found in parts.items()}
    shown = ", ".join(f"{part_folders(folder)[p].name}/" for p in parts) if len(parts) > 1 else ""
    paths = [path for _, paths in listed.values() for path in paths]
    others = [path for found in parts.values() for path in found.others]
    notes = []
    if others:
        named = ", ".join(path.name for path in others[:3])
        notes.append(f"{counted(len(others), 'file')} of other kinds are passed over: {named}")
    return Listing(
        words=f"a folder for each class{f' in {shown}' if shown else ''}",
        root=folder,
        files=paths,
        classes=names,
        parts={part: listing for part, (listing, _) in listed.items()},
        notes=notes,
    )


def _only_wraps(folder: Path, found: _Found) -> bool:
    """Whether what looks like one class is a folder that holds those of all classes."""
    if len(found.classes) > 1:
        return False
    (paths,) = found.classes.values()
    return all(path.parent.parent != folder for path in paths)


def part_folders(folder: Path) -> dict[str, Path]:
    """The folders of the parts in ``folder``, by part."""
    below = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else {}
    found = {
        part: next((below[name] for name in names if name in below), None)
        for part, names in PART_NAMES.items()
    }
    return {part: path for part, path in found.items() if path}


def _scan(folder: Path) -> _Found:
    found = _Found()
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith(SKIPPED):
            continue
        if not entry.is_dir():
            if entry.name.lower().endswith(SUFFIXES):
                found.loose.append(Path(entry.path))
            continue
        pictures: list[Path] = []
        for path, folders, files in os.walk(entry.path):
            folders[:] = sorted(name for name in folders if not name.startswith(SKIPPED))
            for name in sorted(files):
                if not name.startswith("."):
                    picture = name.lower().endswith(SUFFIXES)
                    (pictures if picture else found.others).append(Path(path, name))
        if pictures:
            found.classes[entry.name] = pictures
    return found


def _part(found: _Found, names: Sequence[str]) -> tuple[PartListing, list[Path]]:
    """A part's pictures in their order, as a listing and as paths."""
    rows = [(numbered(p.stem), name, p) for name, paths in found.classes.items() for p in paths]
    rows.sort(key=lambda row: (row[0], natural(row[1]), str(row[2])))
    paths = [path for _, _, path in rows]
    labels = label_numbers("", [name for _, name, _ in rows], names)

    def where(row: int) -> tuple[str, str]:
        return str(paths[row]), "holds no image"

    return PartListing(labels, partial(_chunks, paths), where), paths


def _chunks(paths: Sequence[Path]) -> Iterator[Sequence[Encoded]]:
    return (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))
