"""The command line: reads arguments, calls one function a command, prints the result.

Nothing heavy is imported before what the user typed has been checked.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli import analysis_commands as commands
from cli.analysis_commands import INTERRUPTED_EXIT, sum_up
from cli.environment_checks import check_devices, check_surroundings
from cli.flags import (
    Parser,
    add_run_argument,
    add_search_flags,
    add_session_flags,
    add_train_flags,
    read_settings,
    recorded_settings,
    whole,
)
from search_spaces import Space, load_space
from vgg6.common.checks import InputError
from vgg6.common.interrupts import sigterm_as_ctrl_c
from vgg6.common.old_schema import located
from vgg6.common.say import say
from vgg6.config import FIELD_NAMES, TrialConfig, parse_value
from vgg6.data.sources import data_facts, load_recorded, load_source, split
from vgg6.tuning.cluster.connect import joined, quiet_environment
from vgg6.tuning.settings import Settings

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 2 bad input, 130 interrupted, 1 else."""
    quiet_environment()
    words = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    try:
        with sigterm_as_ctrl_c():
            args = parser.parse_args(words)
            return int(args.handler(args))
    except InputError as error:
        print(f"error: {parser.spelled(error, words)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENOENT):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def search(args: argparse.Namespace) -> int:
    settings, space = read_settings(args), load_space(args.space)
    if settings.searcher == "grid":
        space.grid()
    check_surroundings(settings.address, settings.wandb)
    from vgg6.tuning.algorithms.warm_start import begin_from, read_earlier
    from vgg6.tuning.run.folder import new_run

    run = new_run(settings.name, settings.storage)
    earlier = read_earlier(args.warm_start, settings, space) if args.warm_start else []
    source = load_source(settings.data)
    data = split(source, split_seed=settings.split_seed, limit_train=settings.limit_train)
    space, warm = begin_from(earlier, space, settings, data.fingerprint)
    if args.dry_run:
        from vgg6.tuning.session import plan as launch

        print(launch.dry_run(settings, space, data, warm))
        return 0
    facts = data_facts(
        settings.data, source, data, split_seed=settings.split_seed,
        limit_train=settings.limit_train,
    )  # fmt: skip
    command = "python tune_vgg6.py " + shlex.join(sys.argv[1:])
    with resumable(run, settings):
        with joined(settings.address, settings.verbose) as where:
            from vgg6.tuning.session import plan as launch

            outcome = launch.launch(where, run, settings, space, data, facts, command, warm)
        return conclude(run, outcome, settings)


def resume(args: argparse.Namespace) -> int:
    from vgg6.tuning.algorithms.warm_start import WarmStart
    from vgg6.tuning.run.folder import SEARCH, open_run
    from vgg6.tuning.run.journal import read_history
    from vgg6.tuning.run.records import check_params, read_search

    run = open_run(args.run, args.storage)
    facts = read_search(run)
    settings = recorded_settings(facts, args)
    check_surroundings(settings.address, settings.wandb)
    check_params(run, read_history(run), space := Space.from_dict(facts["space"]))
    with located(f"{run.file(SEARCH)}: "):
        WarmStart.from_dict(facts.get("warm_start"), space)
    with resumable(run, settings):
        _, data = load_recorded(facts["data"])
        with joined(settings.address, settings.verbose) as where:
            from vgg6.tuning.session import plan as launch

            outcome = launch.relaunch(where, run, settings, facts, data)
        return conclude(run, outcome, settings)


@contextmanager
def resumable(run: Any, settings: Settings) -> Iterator[None]:
    """Say how to go on when the search is interrupted while it starts, or while it is packed."""
    from vgg6.tuning.run.folder import SEARCH

    try:
        yield
    except KeyboardInterrupt:
        if run.exists(SEARCH):
            say(f"incomplete: interrupted. To go on: {here()} resume {named(run, settings)}")
        raise


def here() -> str:
    """How to call this program again from where it was called."""
    return f"{interpreter()} tune_vgg6.py"


def named(run: Any, settings: Settings) -> str:
    """A search as an argument of the next command."""
    return str(run.name if settings.storage == "runs" else shlex.quote(run.uri))


def conclude(run: Any, outcome: Any, settings: Settings) -> int:
    """Write the tables and the winner of a session that has ended, and say what comes next."""
    from analysis.results.search_tables import write_table
    from analysis.winner.ranking import render, summary
    from vgg6.tuning.run.folder import BEST
    from vgg6.tuning.session.session import ALL_FAILED, COMPLETE, INTERRUPTED

    program, name = here(), named(run, settings)
    if outcome.outcome not in (COMPLETE, ALL_FAILED):
        say(f"incomplete: {outcome.detail}. To go on: {program} resume {name}")
    write_table(run)
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if outcome.outcome == ALL_FAILED:
        say(f"error: {outcome.detail}")
        return 1
    if outcome.outcome != COMPLETE:
        return INTERRUPTED_EXIT if outcome.outcome == INTERRUPTED else 1
    found = summary(run, top=5)
    run.write_json(BEST, found)
    print(render(found))
    print(f"{outcome.detail}. Results: {run.uri}")
    sum_up(run, settings, outcome.wandb_seconds)
    if run.local:
        from analysis.packages.package import PACKED
        from analysis.winner.export import export_best

        packed = Path(run.path) / PACKED
        export_best(run, packed, look_at_test=False)
        print(f"  packed in     {packed}")
    print(f"  best again    {program} best {name}")
    print(f"  confirm       {program} best {name} --confirm 3")
    print("                trains the best over 3 fresh seeds, then scores the test images, once")
    print(f"  export        {program} export {name} --out DIR")
    return 0


def interpreter() -> str:
    """How to call this Python from here: ``python`` where that is it, else its path."""
    found = shutil.which("python")
    if found and os.path.samefile(found, sys.executable):
        return "python"
    path = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if path.startswith("..") else path)


def status(args: argparse.Namespace) -> int:
    from vgg6.tuning.run.folder import open_run
    from vgg6.tuning.run.status import render, status_of

    found = status_of(open_run(args.run, args.storage))
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def train(args: argparse.Namespace) -> int:
    given = {k: getattr(args, k) for k in FIELD_NAMES if getattr(args, k) is not None}
    check_devices()
    config = TrialConfig(**{k: parse_value(k, v) for k, v in given.items()})
    limit = whole("limit_train", args.limit_train)
    source = load_source(args.data)
    split_seed = whole("split_seed", args.split_seed)
    data = split(source, split_seed=split_seed, limit_train=limit)
    from analysis.packages.train import train_and_save

    return train_and_save(
        config,
        data,
        out=Path(args.out or f"runs/train-{config.label}-{config.fingerprint}"),
        data_facts=data_facts(args.data, source, data, split_seed=split_seed, limit_train=limit),
        device=args.device,
        precision=args.precision,
        threads=whole("threads", args.threads),
        stop_after=whole("stop_after", args.stop_after),
    )


def doctor(args: argparse.Namespace) -> int:
    from cli.doctor import FAIL, examine

    findings = examine(args.storage)
    for f in findings:
        print(
            f"{f.state:<5}{f.topic:<10}{f.found}" + (f"\n{'':15}-> {f.advice}" if f.advice else "")
        )
    return int(any(f.state == FAIL for f in findings))


def build_parser() -> Parser:
    """All commands and flags. Values stay text: they are checked where their rules are."""
    parser = Parser(prog="tune_vgg6.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
        command = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(handler=run)
        return command

    p = add("search", search, "search for the best configuration on this machine or a cluster")
    add_search_flags(p)
    p = add("resume", resume, "go on with a search where it stopped")
    add_run_argument(p)
    add_session_flags(p)
    p = add("status", status, "say how a search stands, running or not")
    add_run_argument(p)
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("train", train, "train one configuration and save it")
    add_train_flags(p)
    p = add(
        "best",
        commands.best,
        "show a search's best configuration, its curve and the ranking",
    )
    add_run_argument(p)
    p.add_argument("--top", default="5", help="how many trials are shown, or confirmed (default 5)")
    p.add_argument("--confirm", metavar="S", help="train them again with S fresh seeds each")
    add_session_flags(p)
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add(
        "export",
        commands.export,
        "write the best configuration as a folder that stands alone",
    )
    add_run_argument(p)
    p.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    p.add_argument("--trial", metavar="N", help="this trial, whatever it scored, not the best")
    p = add(
        "report",
        commands.report,
        "write a search's report: one HTML file, and PNG files if asked",
    )
    add_run_argument(p)
    p.add_argument("--out", metavar="FILE.html", help="default: RUN/report.html")
    p.add_argument("--png", metavar="DIR", help="write the figures and a summary.md there too")
    p.add_argument("--study", action="store_true", help="answer the study's questions in it")
    p.add_argument("--also", nargs="+", default=[], metavar="RUN",
                   help="with --study: compare those searches' trials too")  # fmt: skip
    p.add_argument("--watch", action="store_true", help="serve it here while the search runs")
    p.add_argument("--port", default="8421", help="of --watch (8421; 0 takes a free one)")
    p = add("table", commands.table, "write all trials and epochs as a CSV or parquet table")
    add_run_argument(p)
    p.add_argument("--out", metavar="FILE", help="a .csv or .parquet file (default: print CSV)")
    p.add_argument("--trials", action="store_true", help="one row a trial, not one an epoch")
    p = add("insights", commands.insights, "say what mattered, and what early stopping saved")
    add_run_argument(p)
    p.add_argument("--evaluator", default="fanova", help="of importance: or ped-anova")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add(
        "convert",
        commands.convert,
        "write a search as TensorBoard or optuna-dashboard reads it",
    )
    add_run_argument(p)
    p.add_argument("--to", required=True, help="tensorboard, optuna")
    p.add_argument("--out", metavar="DIR", help="where to; default: below the run folder")
    p = add(
        "verify",
        commands.verify,
        "train a package again from its folder alone, and compare",
    )
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument("--quick", action="store_true", help="score the packed weights only")
    p.add_argument("--data", help="where its images are, if not where they were")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add(
        "evaluate",
        commands.evaluate,
        "score a package on labelled images: by class, with confusion and calibration",
    )
    p.add_argument(
        "package", metavar="DIR", help="a package, as export, train and compress write it"
    )
    p.add_argument("--data", help="cifar10, digits, a FOLDER or an .npz file; default: its own")
    p.add_argument("--part", help="validation (of its own data), test (of any other), train")
    p.add_argument("--figure", metavar="FILE", help="draw it: an .html, .png, .svg or .pdf file")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add(
        "compress",
        commands.compress,
        "prune or quantise a package's network, and say what that costs and gains",
    )
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument("--method", action="append", required=True, help="prune, int8; or both, twice")
    p.add_argument("--sparsity", help="the share of the FLOPs that pruning takes (0.5)")
    p.add_argument("--epochs", default="5", help="of training after pruning (5)")
    p.add_argument("--rounds", default="15", help="how often each network is timed (15)")
    p.add_argument("--data", help="where its images are, if not where they were")
    p.add_argument("--out", metavar="DIR", help="the folder to write; default: beside it")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("doctor", doctor, "check what this machine has for a search, and say what to do")
    p.add_argument("--storage", default="runs", help="where searches would be kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
