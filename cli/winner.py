"""``best`` and ``export``: which configuration won, confirmed if asked, and packed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.commands import command, verify_command
from analysis.packages.package_files import PACKED, check_new, check_out
from cli.console import DONE, add_json_flag, print_result
from cli.environment import check_environment
from cli.flags import add_run_argument, add_session_flags, read_whole
from cli.session import exit_status, log_whole_search, recorded_settings, typed_command
from vgg6.common.checks import Range
from vgg6.common.say import say
from vgg6.data import load_recorded
from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.run.folder import open_run
from vgg6.tuning.run.search import Search, read_search


def add_commands(add: Any) -> None:
    p = add("best", best, "show a search's best configuration, its curve and the ranking")
    add_run_argument(p)
    p.add_argument(
        "--top", default="5", metavar="N", help="trials to show, or to confirm (default: 5)"
    )
    p.add_argument("--confirm", metavar="N", help="train them again, with N fresh seeds each")
    add_session_flags(p)
    add_json_flag(p)
    p = add("export", export, "write the best configuration as a folder that stands alone")
    add_run_argument(p)
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    p.add_argument(
        "--trial", metavar="N", help="this trial, whatever it scored (default: the best)"
    )
    p.add_argument("--force", action="store_true", help="replace the package that is in DIR")
    add_json_flag(p)


def best(args: argparse.Namespace) -> int:
    top = read_whole("top", args.top, Range(1, 1_000_000))
    run = open_run(args.run, args.storage)
    if args.confirm is not None:
        status = confirm(
            read_search(run), args, top, read_whole("confirm", args.confirm, Range(1, 100))
        )
        if status != DONE:
            return status
    from analysis.winner.ranking import summary
    from analysis.winner.render_ranking import render

    print_result(summary(read_search(run), top=top), args.json, render)
    return DONE


def confirm(search: Search, args: argparse.Namespace, top: int, seeds: int) -> int:
    """Train the best ``top`` again over fresh seeds. Returns the exit status."""
    run, facts = search.folder, search.facts
    settings = recorded_settings(facts, args)
    check_environment(settings.address, settings.wandb)
    _, data = load_recorded(facts.data)
    with connected(settings.address, settings.verbose) as where:
        from analysis.winner import confirm as c
        from analysis.winner.export import export_best, look_at_winner
        from analysis.winner.ranking import winner_of
        from vgg6.tuning.session.plan import plan_confirmation

        winner_of(search)  # or a word on why there is none
        candidates, fresh = c.choose(search.history, top, seeds)
        plan = plan_confirmation(where, settings, facts, data, len(candidates) * seeds)
        plan = replace(plan, to_go_on=command(*args.typed))
        outcome, found = c.confirm(search, plan, candidates, fresh, typed_command(args))
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if found is None:
        say(f"{outcome.outcome}: {outcome.detail}. To go on: {command(*args.typed)}")
        return exit_status(outcome)
    search = replace(search, confirmation=found)
    look_at_winner(search)
    log_whole_search(run, settings, outcome.wandb_seconds)
    if run.local:
        export_best(search, Path(run.path) / PACKED)
    return DONE


def export(args: argparse.Namespace) -> int:
    trial = None if args.trial is None else read_whole("trial", args.trial, Range(0, 10**7))
    check_out(Path(args.out)) if args.force else check_new(Path(args.out))
    search = read_search(open_run(args.run, args.storage))
    from analysis.winner.export import export_best
    from analysis.winner.render_export import render

    print_result(export_best(search, Path(args.out), trial=trial), args.json, render)
    say(f"to train it again and compare: {verify_command(args.out)}")
    return DONE
