"""The command line: reads arguments, calls one function a command, prints the result.

Nothing heavy is imported before what the user typed has been checked.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from search_spaces import SPACE_NAMES, load_space
from vgg6.config import (
    FIELD_NAMES,
    InputError,
    Range,
    TrialConfig,
    check_choice,
    check_integer,
    nearest,
    parse_value,
)
from vgg6.data import SPLIT_SEED, data_facts, load_source, split
from vgg6.tuning.cluster import quiet_environment
from vgg6.tuning.settings import SCHEDULERS, SEARCHERS, WANDB_MODES, Settings

BAD_INPUT, INTERRUPTED_EXIT = 2, 130


class Parser(argparse.ArgumentParser):
    """Reads ``--batch_size`` as ``--batch-size`` and offers the nearest flag or command."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        dashed = [_dashed(a) for a in (sys.argv[1:] if args is None else args)]
        if dashed and not dashed[0].startswith("-"):
            check_choice("command", dashed[0], self.subcommands())
        found, unknown = self.parse_known_args(dashed, namespace)
        if unknown:
            flags = self.flags_of(found.command)
            raise InputError("argument", unknown[0], f"is not known{nearest(unknown[0], flags)}")
        return found

    def subcommands(self) -> dict[str, argparse.ArgumentParser]:
        """The parser of each command."""
        action = next(a for a in self._actions if isinstance(a, argparse._SubParsersAction))
        return dict(action.choices)

    def flags_of(self, command: str) -> list[str]:
        """All flags of one command."""
        return [f for a in self.subcommands()[command]._actions for f in a.option_strings]

    def error(self, message: str) -> NoReturn:
        raise InputError("command line", shlex.join(sys.argv[1:]), f"cannot be read: {message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 2 bad input, 130 interrupted, 1 else."""
    quiet_environment()
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def search(args: argparse.Namespace) -> int:
    settings, space = read_settings(args), load_space(args.space)
    if settings.searcher == "grid":
        space.grid()
    from vgg6.tuning.run_folder import new_run

    run = new_run(settings.name, settings.storage)
    source = load_source(settings.data)
    data = split(source, split_seed=settings.split_seed, limit_train=settings.limit_train)
    from vgg6.tuning import launch

    if args.dry_run:
        print(launch.dry_run(settings, space, data))
        return 0
    facts = data_facts(
        settings.data, source, data, split_seed=settings.split_seed,
        limit_train=settings.limit_train,
    )  # fmt: skip
    command = "python tune_vgg6.py " + shlex.join(sys.argv[1:])
    return conclude(run, launch.launch(run, settings, space, data, facts, command), settings)


def resume(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import SEARCH, open_run

    run = open_run(args.RUN, args.storage)
    facts = run.read_json(SEARCH)
    changed = {"address": args.address, "wandb": args.wandb, "verbose": args.verbose}
    asked = facts["settings"] | {"trials": facts["trials"], "data": facts["data"]["argument"]}
    settings = Settings(**(asked | {k: v for k, v in changed.items() if v}))
    data = split(
        load_source(settings.data),
        split_seed=settings.split_seed,
        limit_train=settings.limit_train,
    )
    from vgg6.tuning import launch

    return conclude(run, launch.relaunch(run, settings, facts, data), settings)


def conclude(run: Any, outcome: Any, settings: Settings) -> int:
    """Write the tables and the winner of a session that has ended, and say what comes next."""
    from analysis.results import write_table
    from analysis.selection import render, summary
    from vgg6.tuning.experiment import ALL_FAILED, COMPLETE, INTERRUPTED
    from vgg6.tuning.run_folder import BEST

    write_table(run)
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if outcome.outcome == ALL_FAILED:
        say(f"error: {outcome.detail}")
        return 1
    here = "python tune_vgg6.py"
    name = run.name if settings.storage == "runs" else shlex.quote(run.uri)
    if outcome.outcome != COMPLETE:
        say(f"incomplete: {outcome.detail}. To go on: {here} resume {name}")
        return INTERRUPTED_EXIT if outcome.outcome == INTERRUPTED else 1
    found = summary(run, top=5)
    run.write_json(BEST, found)
    print(render(found))
    print(f"{outcome.detail}. Results: {run.uri}")
    print(f"  best again    {here} best {name}\n  export        {here} export {name} --out best/")
    return 0


def status(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run
    from vgg6.tuning.status import render, status_of

    found = status_of(open_run(args.RUN, args.storage))
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def best(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run

    top = check_integer("--top", whole("--top", args.top), Range(1, 1_000_000))
    run = open_run(args.RUN, args.storage)
    from analysis.selection import render, summary

    found = summary(run, top=top)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def export(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run

    run = open_run(args.RUN, args.storage)
    from analysis.export import export_best

    found = export_best(run, Path(args.out))
    print(json.dumps(found, indent=1))
    say(f"exported to {args.out}: see README.md there for the command that re-runs it")
    return 0


def train(args: argparse.Namespace) -> int:
    given = {k: getattr(args, k) for k in FIELD_NAMES if getattr(args, k) is not None}
    config = TrialConfig(**{k: parse_value(k, v) for k, v in given.items()})
    limit = whole("--limit-train", args.limit_train)
    source = load_source(args.data)
    split_seed = whole("--split-seed", args.split_seed)
    data = split(source, split_seed=split_seed, limit_train=limit)
    from analysis.train import train_and_save

    return train_and_save(
        config,
        data,
        out=Path(args.out or f"runs/train-{config.label}-{config.fingerprint}"),
        data_facts=data_facts(args.data, source, data, split_seed=split_seed, limit_train=limit),
        device=args.device,
        precision=args.precision,
        threads=whole("--threads", args.threads),
        stop_after=whole("--stop-after", args.stop_after),
    )


def doctor(args: argparse.Namespace) -> int:
    from vgg6.doctor import FAIL, examine

    findings = examine(args.storage)
    for f in findings:
        print(
            f"{f.state:<5}{f.topic:<10}{f.found}" + (f"\n{'':15}-> {f.advice}" if f.advice else "")
        )
    return int(any(f.state == FAIL for f in findings))


def read_settings(args: argparse.Namespace) -> Settings:
    """The search's settings from its flags, each checked; those not given take their default."""
    given = {
        "trials": None if args.trials == "auto" else whole("--trials", args.trials),
        **{
            key: whole(_flag(key), getattr(args, key))
            for key in ("epochs", "grace", "max_concurrent", "seed", "split_seed", "patience",
                        "limit_train")
        },
        **{
            key: number(_flag(key), getattr(args, key))
            for key in ("reduction", "cpus_per_trial", "gpus_per_trial")
        },
        "time_budget": seconds("--time-budget", args.time_budget),
    }  # fmt: skip
    named = {
        key: getattr(args, key)
        for key in ("searcher", "scheduler", "address", "storage", "wandb", "wandb_project", "data",
                    "device", "precision", "verbose")
    }  # fmt: skip
    name = args.name if args.name is not None else time.strftime("search-%Y%m%d-%H%M%S")
    return Settings(name=name, **given, **named)


def whole(key: str, text: str | None) -> Any:
    """A whole number, or None where nothing was given; InputError otherwise."""
    return None if text is None else _convert(key, text, int, "is not a whole number")


def number(key: str, text: str | None) -> Any:
    """A number, or None where nothing was given; InputError otherwise."""
    return None if text is None else _convert(key, text, float, "is not a number")


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


def _dashed(argument: str) -> str:
    """``--batch_size=64`` as ``--batch-size=64``; values and paths stay as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def build_parser() -> Parser:
    """All commands and flags. Values stay text: they are checked where their rules are."""
    parser = Parser(prog="tune_vgg6.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    p = add("search", search, "search for the best configuration on this machine or a cluster")
    _add_search_flags(p)
    p = add("resume", resume, "go on with a search where it stopped")
    _add_run(p)
    p.add_argument("--address", help="as in search")
    p.add_argument("--wandb", help="as in search")
    p.add_argument("--verbose", action="store_true", help="let Ray's own messages through")
    p = add("status", status, "say how a search stands, running or not")
    _add_run(p)
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("train", train, "train one configuration and save it")
    _add_train_flags(p)
    p = add("best", best, "show a search's best configuration, its curve and the ranking")
    _add_run(p)
    p.add_argument("--top", default="5", help="how many trials the ranking shows (default 5)")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("export", export, "write the best configuration as a folder that stands alone")
    _add_run(p)
    p.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    p = add("doctor", doctor, "check what this machine has for a search, and say what to do")
    p.add_argument("--storage", default="runs", help="where searches would be kept")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("RUN", help="a search: its name, its folder or its storage URI")
    parser.add_argument("--storage", default="runs", help="where names are looked up (runs)")


def _add_search_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is searched")
    group.add_argument(
        "--space", default="default", metavar="NAME|FILE.yaml", help=", ".join(SPACE_NAMES)
    )
    group.add_argument("--trials", default="64", help="how many, or auto: what fits into an hour")
    group.add_argument("--epochs", default="30", help="a trial's full length (30)")
    group.add_argument("--searcher", default="optuna", help=", ".join(SEARCHERS))
    group.add_argument("--seed", default="42", help="of the searcher and of every trial (42)")
    group = parser.add_argument_group("early stopping")
    group.add_argument("--scheduler", default="asha", help=", ".join(SCHEDULERS))
    group.add_argument("--grace", default="1", help="epochs before a trial may be stopped (1)")
    group.add_argument("--reduction", default="4", help="one in this many goes on past a rung (4)")
    group.add_argument("--time-budget", help="end the search after 90s, 30m, 2h")
    group.add_argument("--patience", help="end it after so many trials without a new incumbent")
    group = parser.add_argument_group("where it runs")
    group.add_argument("--address", help="local, auto or a cluster's host[:port]; default: a"
                       " cluster that runs here, else local")  # fmt: skip
    group.add_argument("--cpus-per-trial", help="CPUs and threads of a trial")
    group.add_argument("--gpus-per-trial", help="GPUs of a trial, such as 0.25 (if there is one)")
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
    group.add_argument("--dry-run", action="store_true", help="print the plan and an estimate")
    group.add_argument("--verbose", action="store_true", help="let Ray's own messages through")


def _add_train_flags(parser: argparse.ArgumentParser) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
