"""The commands that say what came of a search: each reads arguments, calls, and prints.

Nothing heavy is imported before what the user typed has been checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from cli.environment_checks import check_devices, check_surroundings
from cli.flags import number, recorded_settings, whole
from vgg6.common.checks import InputError, Range, check_choice, check_integer
from vgg6.common.files import check_target
from vgg6.common.say import say
from vgg6.data.sources import load_recorded
from vgg6.tuning.cluster.connect import joined
from vgg6.tuning.settings import Settings

INTERRUPTED_EXIT = 130


def best(args: argparse.Namespace) -> int:
    from vgg6.tuning.run.folder import open_run

    top = check_integer("top", whole("top", args.top), Range(1, 1_000_000))
    run = open_run(args.run, args.storage)
    if args.confirm is not None:
        seeds = check_integer("confirm", whole("confirm", args.confirm), Range(1, 100))
        if problem := confirm(run, args, top, seeds):
            return problem
    from analysis.winner.ranking import render, summary

    found = summary(run, top=top)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def confirm(run: Any, args: argparse.Namespace, top: int, seeds: int) -> int:
    """Train the best again over fresh seeds. Returns 0, or the exit status of an incomplete one."""
    from vgg6.tuning.run.journal import read_history
    from vgg6.tuning.run.records import read_search

    facts = read_search(run)
    settings = recorded_settings(facts, args)
    check_surroundings(settings.address, settings.wandb)
    _, data = load_recorded(facts["data"])
    with joined(settings.address, settings.verbose) as where:
        from analysis.winner import confirm as c
        from analysis.winner.ranking import winner_of
        from vgg6.tuning.session.plan import plan_confirmation
        from vgg6.tuning.session.session import INTERRUPTED

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
    from analysis.packages.package import PACKED
    from analysis.winner.export import export_best, look_at_winner

    look_at_winner(run)
    sum_up(run, settings, outcome.wandb_seconds)
    if run.local:
        export_best(run, Path(run.path) / PACKED)
    return 0


def sum_up(run: Any, settings: Settings, waited: float) -> None:
    """One more W&B run: the whole search's. ``waited``: seconds that W&B has held up its end."""
    from analysis.report.wandb_summary import start_summary
    from vgg6.tuning.trackers.wandb_mirror import default_mode, local_folder

    problem = start_summary(
        run, settings.wandb or default_mode(), folder=local_folder(run),
        project=settings.wandb_project, group=settings.name, waited=waited,
    )  # fmt: skip
    if problem:
        say(problem)


def export(args: argparse.Namespace) -> int:
    from vgg6.tuning.run.folder import open_run

    trial = args.trial
    if trial is not None:
        trial = check_integer("trial", whole("trial", trial), Range(0, 10**7))
    run = open_run(args.run, args.storage)
    from analysis.winner.export import export_best

    found = export_best(run, Path(args.out), trial=trial)
    print(json.dumps(found, indent=1))
    say(f"exported to {args.out}; this trains it again and compares: verify {args.out}")
    return 0


def verify(args: argparse.Namespace) -> int:
    folder = checked_package(args.package)
    check_devices()
    from analysis.packages.verify import NOT_REPRODUCED, render
    from analysis.packages.verify import verify as compare

    found = compare(folder, quick=args.quick, data=args.data)
    print(json.dumps(found, indent=1) if args.json else render(found))
    return int(found["verdict"] == NOT_REPRODUCED)


def compress(args: argparse.Namespace) -> int:
    from analysis.packages.compression_plan import Plan

    plan = Plan(
        methods=args.method,
        sparsity=number("sparsity", args.sparsity),
        epochs=whole("epochs", args.epochs),
        rounds=whole("rounds", args.rounds),
    )
    folder = checked_package(args.package)
    out = Path(args.out or f"{folder.resolve()}-{plan.name}")
    check_target("out", out)
    check_devices()
    from analysis.packages.compress import compress as make
    from analysis.packages.compress import render
    from vgg6.training import NonFiniteLoss

    try:
        found = make(folder, out, plan, args.data)
    except NonFiniteLoss as error:
        say(f"error: {error}; nothing was saved")
        return 1
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def evaluate(args: argparse.Namespace) -> int:
    if args.part is not None:
        check_choice("part", args.part, ("validation", "test", "train"))
    folder = checked_package(args.package)
    check_devices()
    if args.figure:
        from analysis.figures.figure_files import check_figure

        check_figure("figure", Path(args.figure))
    from analysis.packages.evaluate import draw, render
    from analysis.packages.evaluate import evaluate as score

    found = score(folder, data=args.data, part=args.part)
    if args.figure:
        from analysis.figures.figure_files import write_figure

        write_figure(draw(found), Path(args.figure))
    print(json.dumps(found, indent=1) if args.json else render(found))
    return 0


def checked_package(given: str) -> Path:
    """A package's folder, or InputError where it is none."""
    from analysis.packages.checksums import SUMS

    if not (Path(given) / SUMS).is_file():
        raise InputError("package", given, f"is no package: it has no {SUMS}")
    return Path(given)


def report(args: argparse.Namespace) -> int:
    from vgg6.tuning.run.folder import open_run

    run = open_run(args.run, args.storage)
    out = Path(args.out or (Path(run.path) / "report.html" if run.local else "report.html"))
    check_target("out", out)
    if out.is_dir():
        raise InputError("out", str(out), "is a folder: a report is a file")
    if args.png:
        check_pictures(Path(args.png))
    port = check_integer("port", whole("port", args.port), Range(0, 65535))
    if args.also and not args.study:
        raise InputError("also", args.also[0], "is compared for the study's questions: add `study`")
    also = [open_run(name, args.storage) for name in args.also]
    if args.watch and args.study:
        raise InputError("study", True, "cannot be served live with `watch`")
    if args.watch:
        from analysis.report.watch import serve

        server = serve(run, port)
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        say("serving the report to this machine; Ctrl-C ends it")
        server.serve_forever()
    from analysis.report.report import answer_study, gather, write_pictures, write_report

    found = gather(run)
    if args.study:
        answer_study(run, found, also)
    write_report(found, out)
    print(f"report: {out}")
    if args.png:
        if not write_pictures(found, Path(args.png)):
            say("no PNG files: they need Chrome or Chromium (or BROWSER_PATH); summary.md is there")
        print(f"summary: {Path(args.png) / 'summary.md'}")
    return 0


def check_pictures(folder: Path) -> None:
    """Raise InputError unless pictures can be written there by the browser that is named."""
    check_target("png", folder / "summary.md")
    browser = os.environ.get("BROWSER_PATH")
    if browser and not shutil.which(browser):
        raise InputError("BROWSER_PATH", browser, "is no program")


def table(args: argparse.Namespace) -> int:
    from analysis.results.search_tables import load_search
    from analysis.results.tables import check_table_file, encoded, save
    from vgg6.tuning.run.folder import open_run

    if args.out:
        check_table_file(Path(args.out))
    run = load_search(open_run(args.run, args.storage))
    for note in run.notes:
        say(note)
    rows = run.trials if args.trials else run.table
    if not args.out:
        sys.stdout.write(encoded(rows, ".csv").decode())
        return 0
    save(rows, Path(args.out))
    say(f"{len(rows)} rows, one a {'trial' if args.trials else 'trial and epoch'}: {args.out}")
    return 0


def insights(args: argparse.Namespace) -> int:
    from analysis.insights.insights import insights as gather
    from analysis.insights.insights import render
    from analysis.results.search_tables import load_search
    from vgg6.tuning.run.folder import open_run

    run = load_search(open_run(args.run, args.storage))
    for note in run.notes:
        say(note)
    found = gather(run, args.evaluator)
    print(json.dumps(found, indent=1) if args.json else render(run, found))
    return 0


def convert(args: argparse.Namespace) -> int:
    from vgg6.tuning.run.folder import open_run

    run = open_run(args.run, args.storage)
    from analysis.results.convert import convert as write

    target, command = write(run, args.to, args.out)
    print(f"written to {target}; to look at it:\n  {command}")
    return 0
