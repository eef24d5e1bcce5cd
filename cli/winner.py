"""``best`` and ``export``: which configuration won, confirmed if asked, and packed."""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.commands import SearchCommands, command, verify_command
from analysis.demo.runtime import ADDRESS, SERVE
from analysis.packages.package_files import DEMO, PACKED, check_new, check_out
from analysis.winner.elimination import MARGIN, MOST_ROUNDS
from cli.console import DONE, FAILED, add_json_flag, print_result
from cli.environment import check_environment
from cli.flags import (
    add_demo_flag,
    add_force_flag,
    add_opset_flag,
    add_run_argument,
    add_session_flags,
    read_opset,
    read_real,
    read_whole,
)
from cli.front import confirm_sizes
from cli.session import exit_status, log_whole_search, recorded_settings, typed_command
from vgg6.common.checks import InputError, Range, check_integer
from vgg6.common.quantities import read_count
from vgg6.common.say import say
from vgg6.common.words import counted, duration
from vgg6.data import load_recorded
from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.run.folder import BEST, RunFolder, open_run
from vgg6.tuning.run.search import Search, read_search

IN_ROUNDS = "auto"  # what --confirm without a number reads as
TOP, MOST_CONFIRM = 5, 100
CONFIRMING_SHARE = 1 / 3  # of a search's time budget, kept for confirming its best
MARGINS = Range(0, 0.5)
COUNTED = Range(1, 10**12)


def add_commands(add: Any) -> None:
    p = add("best", best, "show a search's best configuration, its curve and the ranking")
    add_run_argument(p)
    p.add_argument(
        "--top", default="5", metavar="N", help="trials to show, or to confirm (default: 5)"
    )
    add_confirm_flags(p, "train them again, with N fresh seeds each")
    text = "with --confirm N: confirm the front, which is the best network of each size"
    p.add_argument("--front", action="store_true", help=text)
    add_session_flags(p)
    add_json_flag(p)
    p = add("export", export, "write the best configuration as a folder that stands alone")
    add_run_argument(p)
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    p.add_argument(
        "--trial", metavar="N", help="this trial, whatever it scored (default: the best)"
    )
    p.add_argument(
        "--at",
        metavar="COUNT",
        help="the best network of at most so many parameters, such as 300k: by its mean over fresh"
        " seeds where the front was confirmed",
    )
    add_opset_flag(p)
    add_demo_flag(p)
    add_force_flag(p)
    add_json_flag(p)


def add_confirm_flags(parser: Any, text: str) -> None:
    """``--confirm`` and its margin."""
    parser.add_argument(
        "--confirm",
        nargs="?",
        const=IN_ROUNDS,
        metavar="N",
        help=f"{text}. Without N: a seed after the other, until the winner is better than each"
        f" rival or shown to be within --margin of it, {MOST_ROUNDS} at most",
    )
    parser.add_argument(
        "--margin",
        metavar="X",
        default=f"{MARGIN:g}",
        help="score by which a confirmed winner may be worse than a rival: a cheaper candidate"
        f" wins within it, and rounds end within it (default: {MARGIN:g})",
    )


@dataclass(frozen=True)
class Confirming:
    """What ``--confirm`` and ``--margin`` ask for. ``seeds``: None goes on in rounds."""

    seeds: int | None
    margin: float

    @classmethod
    def read(cls, args: argparse.Namespace) -> Confirming | None:
        """None where no confirmation is asked for."""
        margin = read_real("margin", args.margin, MARGINS)
        if args.confirm is None:
            return None
        if args.confirm == IN_ROUNDS:
            return cls(None, margin)
        return cls(read_whole("confirm", args.confirm, Range(1, MOST_CONFIRM)), margin)

    @property
    def words(self) -> list[str]:
        """The same as flags."""
        seeds = [] if self.seeds is None else [str(self.seeds)]
        margin = [] if self.margin == MARGIN else ["--margin", f"{self.margin:g}"]
        return ["--confirm", *seeds, *margin]


def best(args: argparse.Namespace) -> int:
    top = read_whole("top", args.top, Range(1, 1_000_000))
    asked = Confirming.read(args)
    if args.front and (asked is None or asked.seeds is None):
        rule = "needs the number of seeds that each network of the front is trained with"
        raise InputError("confirm", "auto" if asked else "none", rule)
    run = open_run(args.run, args.storage)
    if args.front and asked is not None and asked.seeds is not None:
        status = confirm_sizes(read_search(run), args, asked.seeds, command(*args.typed))
        if status != DONE:
            return status
    elif asked is not None:
        status = confirm(read_search(run), args, top, asked, command(*args.typed))
        if status != DONE:
            return status
    from analysis.winner.ranking import summary
    from analysis.winner.render_ranking import render

    search = read_search(run)
    print_result(summary(search, top=top), args.json, render)
    if asked is not None and not args.front and (more := to_tell(search, asked)):
        say(more)
    return DONE


def to_tell(search: Search, asked: Confirming) -> str:
    """The command that goes on with a confirmation until it is settled, where it is not.

    Nothing where no candidate beat chance: more seeds would tell no more.
    """
    from analysis.winner.ranking import summary

    found = search.confirmation
    if found is None or not found.more_seeds or not summary(search, top=1).beats_chance:
        return ""
    seeds = len(found.seeds) + found.more_seeds
    if seeds > MOST_CONFIRM:
        return f"not settled, and {MOST_CONFIRM} seeds are not likely to: a wider --margin may"
    top = [] if found.top == TOP else ["--top", str(found.top)]
    in_rounds = asked.seeds is None and seeds <= MOST_ROUNDS  # their time was used up
    words = replace(asked, seeds=None if in_rounds else seeds).words
    return f"not settled. To go on: {SearchCommands(search.folder).best(*top, *words)}"


def confirm_after(
    run: RunFolder, args: argparse.Namespace, asked: Confirming, end: float | None
) -> int:
    """Confirm a search that has just ended and show the winner. ``end``: when its time budget is
    used up, on the monotonic clock.

    Returns the exit status.
    """
    from analysis.winner.ranking import summary
    from analysis.winner.render_ranking import render

    search = read_search(run)
    to_go_on = SearchCommands(run).best(*asked.words)
    left = None if end is None else end - time.monotonic()
    if left is not None and (short := too_short(search, left)):
        say(f"confirmation incomplete: {short}. To go on: {to_go_on}")
        return FAILED
    status = confirm(search, args, TOP, asked, to_go_on, left)
    if status == DONE:
        search = read_search(run)
        found = summary(search, top=TOP)
        run.write_json(BEST, found.to_dict())
        print(render(found))
        if more := to_tell(search, asked):
            print(f"  {more}")
    return status


def too_short(search: Search, left: float) -> str:
    """Why ``left`` seconds are too few for a round of a confirmation; empty where they may do."""
    if left <= 0:
        return "the time budget is used up"
    best = search.history.ranking(TOP)
    longest = max((t.config.epochs * t.seconds / t.epoch for t in best), default=0.0)
    if left >= longest:
        return ""
    run = f"a run of {counted(max(t.config.epochs for t in best), 'epoch')}"
    return (
        f"{run} takes about {duration(longest)}, and the time budget is used up in {duration(left)}"
    )


def confirm(
    search: Search,
    args: argparse.Namespace,
    top: int,
    asked: Confirming,
    to_go_on: str,
    seconds: float | None = None,
) -> int:
    """Train the best ``top`` again over fresh seeds, for so many ``seconds`` at most.

    Returns the exit status.
    """
    run, facts = search.folder, search.facts
    settings = recorded_settings(facts, args)
    check_environment(settings.address, settings.wandb)
    _, data = load_recorded(facts.data)
    before = search.confirmation or search.outdated
    known = before.seeds if before else []
    seeds = asked.seeds or max(MOST_ROUNDS, len(known))  # rounds leave no seed out
    began = time.monotonic()
    with connected(settings.address, settings.verbose, to_go_on) as where:
        from analysis.winner import confirm as c
        from analysis.winner.export import export_best, look_at_winner
        from analysis.winner.ranking import winner_of
        from vgg6.tuning.session.plan import plan_confirmation

        winner_of(search)  # or a word on why there is none
        candidates, fresh = c.choose(search.history, top, seeds)
        left = None if seconds is None else max(1.0, seconds - (time.monotonic() - began))
        runs = len(candidates) * seeds
        plan = plan_confirmation(where, settings, facts, data, runs, left)
        plan = replace(plan, to_go_on=to_go_on)
        outcome, found = c.confirm(
            search, plan, candidates, fresh, typed_command(args), margin=asked.margin,
            until_settled=asked.seeds is None,
        )  # fmt: skip
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if found is None:
        say(f"confirmation {outcome.outcome}: {outcome.detail}. To go on: {to_go_on}")
        return exit_status(outcome)
    search = replace(search, confirmation=found, outdated=None)
    look_at_winner(search)
    log_whole_search(run, settings, outcome.wandb_seconds)
    if run.local:
        export_best(search, Path(run.path) / PACKED)
    return DONE


def export(args: argparse.Namespace) -> int:
    trial = None if args.trial is None else read_whole("trial", args.trial, Range(0, 10**7))
    most = None if args.at is None else check_integer("at", read_count("at", args.at), COUNTED)
    if trial is not None and most is not None:
        raise InputError("at", args.at, "cannot stand beside `trial`, which names the trial itself")
    opset = read_opset(args)
    check_out(Path(args.out)) if args.force else check_new(Path(args.out))
    search = read_search(open_run(args.run, args.storage))
    confirmed = None
    if most is not None:
        from analysis.winner.sizes import best_within

        point = search.front and search.front.within(most)
        if search.front and point:
            confirmed = search.front.alone(point.candidate.trial)
            say(f"{confirmed.why}: its mean is the best of at most {most:,} parameters")
        else:
            trial = best_within(search, most)
            say(f"trial {trial} is the first of the ranking with at most {most:,} parameters")
    from analysis.winner.export import export_best
    from analysis.winner.render_export import render

    packed = export_best(
        search, Path(args.out), trial=trial, confirmed=confirmed, opset=opset, demo=args.demo
    )
    print_result(packed, args.json, render)
    say(f"to train it again and compare: {verify_command(args.out)}")
    if args.demo:
        say(f"to classify a picture in a browser: {shlex.join(['cd', args.out])} && {SERVE}")
        say(f"then open {ADDRESS}{DEMO}")
    return DONE
