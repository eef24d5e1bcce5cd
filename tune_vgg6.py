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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_spaces import load_space
from vgg6.config import (
    FIELD_NAMES,
    InputError,
    Range,
    TrialConfig,
    check_integer,
    parse_value,
)
from vgg6.data import data_facts, load_recorded, load_source, split
from vgg6.tuning.cluster import joined, quiet_environment
from vgg6.tuning.flags import (
    Parser,
    add_run_argument,
    add_search_flags,
    add_session_flags,
    add_train_flags,
    read_settings,
    whole,
)
from vgg6.tuning.settings import Settings

BAD_INPUT, INTERRUPTED_EXIT = 2, 130


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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENOENT):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def search(args: argparse.Namespace) -> int:
    settings, space = read_settings(args), load_space(args.space)
    if settings.searcher == "grid":
        space.grid()
    from vgg6.tuning.run_folder import new_run

    run = new_run(settings.name, settings.storage)
    source = load_source(settings.data)
    data = split(source, split_seed=settings.split_seed, limit_train=settings.limit_train)
    if args.dry_run:
        from vgg6.tuning import launch

        print(launch.dry_run(settings, space, data))
        return 0
    facts = data_facts(
        settings.data, source, data, split_seed=settings.split_seed,
        limit_train=settings.limit_train,
    )  # fmt: skip
    command = "python tune_vgg6.py " + shlex.join(sys.argv[1:])
    with joined(settings.address, settings.verbose) as where:
        from vgg6.tuning import launch

        outcome = launch.launch(where, run, settings, space, data, facts, command)
    return conclude(run, outcome, settings)


def resume(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import SEARCH, open_run

    run = open_run(args.RUN, args.storage)
    facts = run.read_json(SEARCH)
    settings = recorded_settings(facts, args)
    _, data = load_recorded(facts["data"])
    with joined(settings.address, settings.verbose) as where:
        from vgg6.tuning import launch

        outcome = launch.relaunch(where, run, settings, facts, data)
    return conclude(run, outcome, settings)


def recorded_settings(facts: dict[str, Any], args: argparse.Namespace) -> Settings:
    """What the search was asked for, but for where this session runs and what it shows."""
    changed = {"address": args.address, "wandb": args.wandb, "verbose": args.verbose}
    asked = facts["settings"] | {"trials": facts["trials"], "data": facts["data"]["argument"]}
    return Settings(**(asked | {k: v for k, v in changed.items() if v}))


def conclude(run: Any, outcome: Any, settings: Settings) -> int:
    """Write the tables and the winner of a session that has ended, and say what comes next."""
    from analysis.results import write_table
    from analysis.selection import render, summary
    from vgg6.tuning.experiment import ALL_FAILED, COMPLETE, INTERRUPTED
    from vgg6.tuning.run_folder import BEST

    here = f"{interpreter()} tune_vgg6.py"
    name = run.name if settings.storage == "runs" else shlex.quote(run.uri)
    if outcome.outcome not in (COMPLETE, ALL_FAILED):
        say(f"incomplete: {outcome.detail}. To go on: {here} resume {name}")
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
    sum_up(run, settings)
    if run.local:
        from analysis.export import export_best
        from analysis.package import PACKED

        packed = Path(run.path) / PACKED
        export_best(run, packed, look_at_test=False)
        print(f"  packed in     {packed}")
    print(f"  best again    {here} best {name}")
    print(f"  confirm       {here} best {name} --confirm 3")
    print("                trains the best over 3 fresh seeds, then scores the test images, once")
    print(f"  export        {here} export {name} --out DIR")
    return 0


def interpreter() -> str:
    """How to call this Python from here: ``python`` where that is it, else its path."""
    found = shutil.which("python")
    if found and os.path.samefile(found, sys.executable):
        return "python"
    path = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if path.startswith("..") else path)


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
    if args.confirm is not None:
        seeds = check_integer("--confirm", whole("--confirm", args.confirm), Range(1, 100))
        if problem := confirm(run, args, top, seeds):
            return problem
    from analysis.selection import render, summary

    found = summary(run, top=top)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def confirm(run: Any, args: argparse.Namespace, top: int, seeds: int) -> int:
    """Train the best again over fresh seeds. Returns 0, or the exit status of an incomplete one."""
    from vgg6.tuning.journal import read_history
    from vgg6.tuning.run_folder import SEARCH

    facts = run.read_json(SEARCH)
    settings = recorded_settings(facts, args)
    _, data = load_recorded(facts["data"])
    with joined(settings.address, settings.verbose) as where:
        from analysis import confirm as c
        from analysis.selection import winner_of
        from vgg6.tuning.experiment import INTERRUPTED
        from vgg6.tuning.launch import plan_confirmation

        history = read_history(run)
        winner_of(run, history)  # or a word on why there is none
        candidates, fresh = c.choose(history, top, seeds)
        plan = plan_confirmation(where, settings, facts, data, len(candidates) * seeds)
        command = "python tune_vgg6.py " + shlex.join(sys.argv[1:])
        outcome, found = c.confirm(run, plan, candidates, fresh, command)
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if found is None:
        say(f"{outcome.outcome}: {outcome.detail}. To go on: the same command again")
        return INTERRUPTED_EXIT if outcome.outcome == INTERRUPTED else 1
    from analysis.export import export_best, look_at_winner
    from analysis.package import PACKED

    look_at_winner(run)
    sum_up(run, settings)
    if run.local:
        export_best(run, Path(run.path) / PACKED)
    return 0


def sum_up(run: Any, settings: Settings) -> None:
    """One more W&B run: the whole search's."""
    from analysis.wandb_summary import start_summary
    from vgg6.tuning.wandb_mirror import default_mode, local_folder

    problem = start_summary(
        run, settings.wandb or default_mode(), folder=local_folder(run),
        project=settings.wandb_project, group=settings.name,
    )  # fmt: skip
    if problem:
        say(problem)


def export(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run

    run = open_run(args.RUN, args.storage)
    from analysis.export import export_best

    found = export_best(run, Path(args.out))
    print(json.dumps(found, indent=1))
    say(f"exported to {args.out}; this trains it again and compares: verify {args.out}")
    return 0


def report(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run

    run = open_run(args.RUN, args.storage)
    port = check_integer("--port", whole("--port", args.port), Range(0, 65535))
    if args.watch:
        from analysis.watch import serve

        server = serve(run, port)
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        say("serving the report to this machine; Ctrl-C ends it")
        server.serve_forever()
    from analysis.report import gather, write_pictures, write_report

    found = gather(run)
    out = Path(args.out or (Path(run.path) / "report.html" if run.local else "report.html"))
    write_report(found, out)
    print(f"report: {out}")
    if args.png:
        if not write_pictures(found, Path(args.png)):
            say("no PNG files: they need Chrome or Chromium (or BROWSER_PATH); summary.md is there")
        print(f"summary: {Path(args.png) / 'summary.md'}")
    return 0


def table(args: argparse.Namespace) -> int:
    run = open_either(args)
    from analysis.ray_results import ray_table
    from analysis.results import load_table, load_trials, save_table
    from vgg6.tuning.run_folder import SEARCH

    if run.exists(SEARCH):
        found = load_trials(run) if args.trials else load_table(run)
    else:
        found = ray_table(run)
    if args.out:
        save_table(found, Path(args.out))
        say(f"{len(found)} rows written to {args.out}")
    else:
        print(found.to_csv(index=False), end="")
    return 0


def insights(args: argparse.Namespace) -> int:
    run = open_either(args)
    from analysis.insights import insights as find
    from analysis.insights import render

    found = find(run, args.metric, args.mode)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def open_either(args: argparse.Namespace) -> Any:
    """A search of this tool, or a folder of stock Ray Tune's."""
    from analysis.ray_results import is_ray_experiment
    from vgg6.tuning.run_folder import RunFolder, open_run

    folder = RunFolder(args.RUN)
    return folder if is_ray_experiment(folder) else open_run(args.RUN, args.storage)


def convert(args: argparse.Namespace) -> int:
    from vgg6.tuning.run_folder import open_run

    run = open_run(args.RUN, args.storage)
    from analysis.convert import convert as write

    target, command = write(run, args.to, args.out)
    print(f"written to {target}; to look at it:\n  {command}")
    return 0


def verify(args: argparse.Namespace) -> int:
    from analysis.checksums import SUMS

    folder = Path(args.DIR)
    if not (folder / SUMS).is_file():
        raise InputError("DIR", args.DIR, f"is no package: it has no {SUMS}")
    from analysis.verify import NOT_REPRODUCED, render
    from analysis.verify import verify as compare

    found = compare(folder, quick=args.quick, data=args.data)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return int(found["verdict"] == NOT_REPRODUCED)


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
    add_search_flags(p)
    p = add("resume", resume, "go on with a search where it stopped")
    add_run_argument(p)
    add_session_flags(p)
    p = add("status", status, "say how a search stands, running or not")
    add_run_argument(p)
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("train", train, "train one configuration and save it")
    add_train_flags(p)
    p = add("best", best, "show a search's best configuration, its curve and the ranking")
    add_run_argument(p)
    p.add_argument("--top", default="5", help="how many trials are shown, or confirmed (default 5)")
    p.add_argument("--confirm", metavar="S", help="train them again with S fresh seeds each")
    add_session_flags(p)
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("export", export, "write the best configuration as a folder that stands alone")
    add_run_argument(p)
    p.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    p = add("report", report, "write a search's report: one HTML file, and PNG files if asked")
    add_run_argument(p)
    p.add_argument("--out", metavar="FILE.html", help="default: RUN/report.html")
    p.add_argument("--png", metavar="DIR", help="write the figures and a summary.md there too")
    p.add_argument("--watch", action="store_true", help="serve it here while the search runs")
    p.add_argument("--port", default="8421", help="of --watch (8421; 0 takes a free one)")
    p = add("table", table, "a search's results, or stock Ray Tune's, as CSV or parquet")
    add_run_argument(p)
    p.add_argument("--out", metavar="FILE", help=".csv or .parquet; default: CSV to the output")
    p.add_argument("--trials", action="store_true", help="one row a trial, not a (trial, epoch)")
    p = add("insights", insights, "what mattered in a search, and what early stopping saved")
    add_run_argument(p)
    p.add_argument("--metric", help="of a stock Ray Tune experiment, where it is not the usual one")
    p.add_argument("--mode", help="max or min, with --metric")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("convert", convert, "write a search as TensorBoard or optuna-dashboard reads it")
    add_run_argument(p)
    p.add_argument("--to", required=True, help="tensorboard, optuna")
    p.add_argument("--out", metavar="DIR", help="where to; default: below the run folder")
    p = add("verify", verify, "train a package again from its folder alone, and compare")
    p.add_argument("DIR", help="a package, as export and train write it")
    p.add_argument("--quick", action="store_true", help="score the packed weights only")
    p.add_argument("--data", help="where its images are, if not where they were")
    p.add_argument("--json", action="store_true", help="print one JSON document")
    p = add("doctor", doctor, "check what this machine has for a search, and say what to do")
    p.add_argument("--storage", default="runs", help="where searches would be kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
