"""The command line's flags, and reading their values: each error names the flag and its rule."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from search_spaces import SPACE_NAMES
from vgg6.common.checks import InputError, Range, check_integer
from vgg6.config import FIELD_NAMES, TrialConfig
from vgg6.data import SPLIT_SEED
from vgg6.tuning.settings import AUTO, SCHEDULERS, SEARCHERS, WANDB_MODES, Settings


def read_settings(args: argparse.Namespace) -> Settings:
    """The search's settings from its flags, each checked; those not given take their default."""
    given = {
        "trials": None if args.trials == "auto" else whole("trials", args.trials),
        **{
            key: whole(key, getattr(args, key))
            for key in ("epochs", "grace", "max_concurrent", "seed", "split_seed", "patience",
                        "limit_train")
        },
        **{
            key: number(key, getattr(args, key))
            for key in ("reduction", "cpus_per_trial")
        },
        "gpus_per_trial": share("gpus_per_trial", args.gpus_per_trial),
        "time_budget": seconds("time_budget", args.time_budget),
    }  # fmt: skip
    named = {
        key: getattr(args, key)
        for key in ("searcher", "scheduler", "address", "storage", "wandb", "wandb_project",
                    "mlflow", "data", "device", "precision", "accelerator_type", "verbose")
    }  # fmt: skip
    name = args.name if args.name is not None else time.strftime("search-%Y%m%d-%H%M%S")
    return Settings(name=name, **given, **named)


def whole(key: str, text: str | None) -> Any:
    """A whole number, or None where nothing was given; InputError otherwise."""
    return None if text is None else _convert(key, text, int, "is not a whole number")


def whole_in(key: str, text: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; InputError otherwise."""
    return check_integer(key, whole(key, text), Range(low, high))


def number(key: str, text: str | None) -> Any:
    """A number, or None where nothing was given; InputError otherwise."""
    return None if text is None else _convert(key, text, float, "is not a number")


def share(key: str, text: str | None) -> Any:
    """A number, or ``auto`` as it is."""
    rule = f"is neither a number nor {AUTO}"
    return text if text in (None, AUTO) else _convert(key, text, float, rule)


def seconds(key: str, text: str | None) -> float | None:
    """``90``, ``90s``, ``30m`` or ``2h`` in seconds."""
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    rule = "is not a time such as 90s, 30m or 2h"
    return float(_convert(key, text[:-1] if unit else text, float, rule, shown=text)) * (unit or 1)


def _convert(
    key: str, text: str, kind: Callable[[str], Any], rule: str, shown: str | None = None
) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InputError(key, shown or text, rule) from None


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """RUN, and where its name is looked up."""
    parser.add_argument(
        "run", metavar="RUN", help="a search: its name, its folder or its storage URI"
    )
    parser.add_argument("--storage", default="runs", help="where names are looked up (runs)")


def add_session_flags(parser: argparse.ArgumentParser) -> None:
    """Where a session that goes on with a search runs, and what it shows."""
    parser.add_argument("--address", help="as in search")
    parser.add_argument("--wandb", help="as in search")
    parser.add_argument("--verbose", action="store_true", help="let Ray's own messages through")


def add_search_flags(parser: argparse.ArgumentParser) -> None:
    """All that ``search`` takes. Values stay text: they are checked where their rules are."""
    group = parser.add_argument_group("what is searched")
    group.add_argument(
        "--space", default="default", metavar="NAME|FILE.yaml", help=", ".join(SPACE_NAMES)
    )
    group.add_argument("--trials", default="64", help="how many; auto: what an hour allows")
    group.add_argument("--epochs", default="30", help="a trial's full length (30)")
    group.add_argument("--searcher", default="forest", help=", ".join(SEARCHERS))
    group.add_argument(
        "--warm-start",
        nargs="+",
        default=[],
        metavar="RUN",
        help="earlier searches: their best are tried first, comparable ones told",
    )
    group.add_argument("--seed", default="42", help="of the searcher and of every trial (42)")
    group = parser.add_argument_group("early stopping")
    group.add_argument("--scheduler", default="asha", help=", ".join(SCHEDULERS))
    group.add_argument(
        "--grace",
        default="1",
        help="epochs before a trial may be stopped: the first rung; each other is at twice the"
        " epochs of the one before (1)",
    )
    group.add_argument("--reduction", default="4", help="one in this many goes on past a rung (4)")
    group.add_argument("--time-budget", help="end the search after 90s, 30m, 2h")
    group.add_argument("--patience", help="end it after so many trials without a new incumbent")
    group = parser.add_argument_group("where it runs")
    group.add_argument("--address", help="local, auto or a cluster's host[:port]; default: a"
                       " cluster that runs here, else local")  # fmt: skip
    group.add_argument("--cpus-per-trial", help="CPUs and threads of a trial")
    group.add_argument("--gpus-per-trial", help="a fraction (0.25 if there is a GPU), whole GPUs,"
                       " or auto: measured")  # fmt: skip
    group.add_argument("--accelerator-type", metavar="KIND", help="of GPU, such as A100 (any)")
    group.add_argument("--max-concurrent", help="trials at once; default: as many as fit")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda")
    group.add_argument("--precision", default="auto", help="auto, bf16, fp32")
    group = parser.add_argument_group("data and results")
    group.add_argument("--data", default="cifar10", help="cifar10, digits, auto or a FOLDER")
    group.add_argument("--limit-train", help="train on so many images only")
    group.add_argument("--split-seed", default=str(SPLIT_SEED), help="of the validation split (42)")
    group.add_argument("--storage", default="runs", help="folder or URI that keeps searches (runs)")
    group.add_argument("--name", help="of the search; default: the time")
    group.add_argument("--wandb", help=", ".join(WANDB_MODES) + "; default: online with a key")
    group.add_argument("--wandb-project", default="tune_vgg6", help="W&B project (tune_vgg6)")
    group.add_argument("--mlflow", metavar="URI", help="log to MLflow too, as sqlite:///mlflow.db")
    group.add_argument("--dry-run", action="store_true", help="print the plan and an estimate")
    group.add_argument("--verbose", action="store_true", help="let Ray's own messages through")


def add_train_flags(parser: argparse.ArgumentParser) -> None:
    """All that ``train`` takes: a flag for every field of TrialConfig, and where it runs."""
    group = parser.add_argument_group("configuration; the defaults are the study's best")
    for name in FIELD_NAMES:
        group.add_argument(_flag(name), help=f"default: {getattr(TrialConfig, name)}")
    group = parser.add_argument_group("data and arithmetic")
    group.add_argument("--data", default="cifar10", help="cifar10, digits, auto or a FOLDER")
    group.add_argument("--limit-train", help="train on so many images only")
    group.add_argument("--split-seed", default=str(SPLIT_SEED), help="of the validation split (42)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda")
    group.add_argument("--precision", default="auto", help="auto, bf16, fp32")
    group.add_argument("--threads", help="CPU threads; default: all")
    group.add_argument("--stop-after", help="end after so many of the --epochs")
    group.add_argument("--out", help="folder for weights, configuration and history")


def recorded_settings(facts: dict[str, Any], args: argparse.Namespace) -> Settings:
    """What the search was asked for, but for where this session runs and what it shows."""
    changed = {"address": args.address, "wandb": args.wandb, "verbose": args.verbose}
    asked = facts["settings"] | {"trials": facts["trials"], "data": facts["data"]["argument"]}
    return Settings(**(asked | {k: v for k, v in changed.items() if v}))
