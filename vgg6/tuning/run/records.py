"""What the files of a run folder must hold, checked as they are read: anybody may have made them.

``search.json`` says what was asked, ``confirmation.json`` what ``best --confirm`` found.
"""

from __future__ import annotations

from typing import Any

from search_spaces import Space
from search_spaces.parameter import check_value
from vgg6.common import old_schema as s
from vgg6.common.checks import InputError, check_key
from vgg6.tuning.run.folder import CONFIRMATION, JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import COMPLETED, INFEASIBLE, PRUNED, History
from vgg6.tuning.settings import Settings

FORMAT = 1
RETIRED = ("stop_margin",)  # settings that older searches have
COUNT = s.integer(0, 10**9)
SEED = s.integer(0, 2**32 - 1)
SHARE = s.number(0, 1)
TEXTS = s.optional(s.each(s.text))
IMAGES = s.mapping(
    {
        "name": s.text,
        "argument": s.text,
        "fingerprint": s.text,
        "train_images": s.integer(1, 10**9),
        "val_images": s.integer(1, 10**9),
        "split_seed": SEED,
        "limit_train": s.optional(s.integer(1, 10**9)),
    },
    {"origin": s.text, "mean": s.each(s.number()), "std": s.each(s.number()), "classes": TEXTS},
)
RUNTIME = s.mapping(
    {
        "device": s.one_of(("cpu", "cuda")),
        "precision": s.one_of(("bf16", "fp32")),
        "threads": s.integer(1, 1024),
    },
    closed=True,
)


def _settings(key: str, value: Any) -> None:
    """The mapping of a Settings, as ``search.json`` has it. MLflow need not be here to read it."""
    s.mapping({"name": s.text}, {"mlflow": s.optional(s.text)})(key, value)
    for name in value:
        check_key(key, name, (*Settings.__dataclass_fields__, *RETIRED))
    try:
        Settings(**{k: v for k, v in value.items() if k not in RETIRED} | {"mlflow": None})
    except InputError as error:
        raise InputError(f"{key}.{error.field}", error.value, error.rule) from None


def _space(key: str, value: Any) -> None:
    s.mapping({})(key, value)
    with s.located(f"{key}: "):
        Space.from_dict(value)


def _format(key: str, value: Any) -> None:
    s.integer(1, 10**6)(key, value)
    if value != FORMAT:
        rule = f"is of a later version of this tool, which must read it: this one reads {FORMAT}"
        raise InputError(key, value, rule)


_SEARCH = s.mapping(
    {
        "format": _format,
        "name": s.text,
        "trials": s.integer(0, 10**6),
        "settings": _settings,
        "space": _space,
        "data": IMAGES,
        "runtime": RUNTIME,
    },
    {
        "versions": s.mapping({}),
        "command": s.text,
        "created": s.text,
        "gpus": s.each(s.text),
        "warm_start": s.mapping(
            {
                "sources": s.each(
                    s.mapping(
                        {"run": s.text, "data": s.text, "points": COUNT, "told": COUNT,
                         "why": s.text}
                    )
                ),
                "told": s.each(
                    s.mapping(
                        {"trial": COUNT, "config": s.config, "scores": s.each(SHARE),
                         "state": s.one_of((COMPLETED, PRUNED, INFEASIBLE))}
                    )
                ),
            }
        ),
    },
)  # fmt: skip
_ROW = {
    **{f"{part}_loss": s.number() for part in ("train", "val")},
    **{f"{part}_acc": SHARE for part in ("train", "val")},
    "epoch": s.integer(1, 10_000), "best_val_acc": SHARE, "best_epoch": s.integer(1, 10_000),
    "lr": s.number(), "seconds": s.number(0, 1e9),
}  # fmt: skip
HISTORY = s.each(s.mapping(_ROW), least=1)
_ANY_NUMBER = s.optional(s.number())
_CANDIDATE = s.mapping(
    {
        "trial": COUNT, "label": s.text, "config": s.config, "search_score": SHARE,
        **dict.fromkeys(("mean", "sd", "low", "high", "optimism"), _ANY_NUMBER),
        "eliminated_after": s.optional(COUNT), "tied": s.flag,
        "runs": s.each(
            s.mapping(
                {"seed": SEED, "val_acc": s.optional(SHARE), "state": s.text,
                 "history": s.each(s.mapping(_ROW))}
            )
        ),
    }
)  # fmt: skip
_CONFIRMATION = s.mapping(
    {
        "format": _format, "top": s.integer(1, 10**6), "level": SHARE, "seeds": s.each(SEED),
        "candidates": s.each(_CANDIDATE, least=1), "winner": COUNT, "ties": s.each(COUNT),
        "why": s.text, "representative_seed": SEED,
    },
    {"command": s.text},
)  # fmt: skip


def read_search(run: RunFolder) -> dict[str, Any]:
    """``search.json``.

    Raises:
        InputError: it is no JSON, of a later version, or breaks a rule; names the file and the key.
    """
    found = run.read_json(SEARCH)
    with s.located(f"{run.file(SEARCH)}: "):
        _SEARCH(s.TOP, found)
    asked = {k: v for k, v in found["settings"].items() if k not in RETIRED}
    return found | {"settings": asked}


def read_confirmation(run: RunFolder) -> dict[str, Any] | None:
    """``confirmation.json``, or None where nothing is confirmed yet.

    Raises:
        InputError: as ``read_search``; or its winner is none of its candidates, or has no run.
    """
    if not run.exists(CONFIRMATION):
        return None
    found = run.read_json(CONFIRMATION)
    with s.located(f"{run.file(CONFIRMATION)}: "):
        _CONFIRMATION(s.TOP, found)
        if found["winner"] not in [c["trial"] for c in found["candidates"]]:
            raise InputError("winner", found["winner"], "is none of the candidates")
        winner = confirmed_winner(found)
        if winner["mean"] is None:
            raise InputError("winner", found["winner"], "is a candidate without a mean")
        seed = found["representative_seed"]
        done = [r for r in winner["runs"] if r["state"] == "completed" and r["history"]]
        if seed not in [r["seed"] for r in done]:
            raise InputError("representative_seed", seed, "is of no completed run of the winner")
    return dict(found)


def confirmed_winner(confirmation: dict[str, Any]) -> dict[str, Any]:
    """The candidate that won."""
    trial = confirmation["winner"]
    return dict(next(c for c in confirmation["candidates"] if c["trial"] == trial))


class _Suggested:
    """Answers as an Optuna trial whose values are already known."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def suggest(self, key: str, *_: Any, **__: Any) -> Any:
        if key not in self.params:
            raise InputError("params", key, "is missing")
        return self.params[key]

    suggest_categorical = suggest_int = suggest_float = suggest


def check_params(run: RunFolder, history: History, space: Space) -> None:
    """Raise InputError unless the journal's trials were suggested by ``space``."""
    for record in history.trials.values():
        with s.located(f"{run.file(JOURNAL)}: trial {record.number}: "):
            for name in record.params:
                check_key("params", name, [p.key for p in space.parameters])
            chosen = space.suggest(_Suggested(record.params))
            for p in space.parameters:
                if p.key in record.params and p.active(chosen):
                    value = check_value(f"params.{p.key}", p.name, record.params[p.key])
                    if not p.contains(value):
                        rule = f"is outside the search's space ({p.values_text})"
                        raise InputError(f"params.{p.key}", value, rule)
