"""What the files of a package must hold, checked as they are read: anybody may have made them."""

from __future__ import annotations

from typing import Any

from vgg6.common import old_schema as s
from vgg6.common.checks import InputError
from vgg6.model import WIDTHS
from vgg6.tuning.run.records import HISTORY, IMAGES, RUNTIME, SEED, SHARE


def _widths(key: str, value: Any) -> None:
    """Those of a network that a VGG6 can be pruned to."""
    s.each(s.integer(1, max(WIDTHS)), least=len(WIDTHS))(key, value)
    if len(value) != len(WIDTHS) or any(w > full for w, full in zip(value, WIDTHS, strict=True)):
        raise InputError(key, value, f"is not {len(WIDTHS)} widths of at most {list(WIDTHS)}")


def _data(key: str, value: Any) -> None:
    """What ``data_facts`` records; whoever classifies an image needs the last three."""
    IMAGES(key, value)
    colours = {"mean": s.each(s.number()), "std": s.each(s.number(1e-6))}
    s.mapping({**colours, "classes": s.each(s.text, least=1)})(key, value)
    for name in colours:
        if len(value[name]) != 3:
            raise InputError(f"{key}.{name}", value[name], "is not three numbers, one for a colour")


_INTERVAL = s.mapping(dict.fromkeys(("low", "high"), s.optional(s.number())))
_TEST = s.mapping({"accuracy": SHARE, "loss": s.number()})
_PRUNED = s.mapping(
    {"sparsity": s.number(0, 1), "epochs": s.integer(0, 10_000), "widths": _widths}, closed=True
)
_COMPRESSION = s.mapping(
    {
        "source": s.text,
        "prune": s.optional(_PRUNED),
        "int8": s.optional(s.mapping({"images": s.integer(1, 10**9)}, closed=True)),
    },
    closed=True,
)
_CONFIRMED = s.mapping({"sd": s.optional(s.number(0, 1)), "seeds": s.each(SEED)})
SECTIONS = s.mapping(
    {
        "config": s.config,
        "runtime": RUNTIME,
        "data": _data,
        "stop_after": s.optional(s.integer(1, 10_000)),
    },
    {"compression": s.optional(_COMPRESSION)},
    closed=True,
)
_SCORES = {"val_acc": SHARE, "best_epoch": s.integer(1, 10_000)}
_OTHERS = {
    "test": s.optional(_TEST), "confirmed": s.optional(_CONFIRMED), "val_acc_interval": _INTERVAL,
}  # fmt: skip
METRICS = s.mapping(_SCORES, _OTHERS)
_SIDE = s.mapping(
    {"accuracy": SHARE, "loss": s.number(),
     **dict.fromkeys(("bytes", "parameters", "flops"), s.integer(1, 10**12))}
)  # fmt: skip
COMPRESSED_METRICS = s.mapping(
    {
        **_SCORES,
        "trained_val_acc": SHARE,
        "before": _SIDE,
        "after": _SIDE,
        "threads": s.integer(1, 1024),
        "speed": s.each(
            s.mapping(
                {"batch": s.integer(1, 10**6),
                 **dict.fromkeys(("ratio", "low", "high", "over_torch"), s.number(0, 1e9))}
            )
        ),
    },
    {**_OTHERS, "epochs_after_pruning": s.optional(HISTORY)},
)  # fmt: skip
_VERSIONS = s.mapping({}, {"torch": s.text, "numpy": s.text})
ENVIRONMENT = s.mapping(
    {"cpu": s.text, "instructions": s.text, "gpus": s.each(s.text), "versions": _VERSIONS},
    {"versions_of_search": s.optional(_VERSIONS)},
)
