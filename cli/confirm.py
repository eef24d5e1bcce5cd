"""``--confirm``: the best of a search, or its front, trained again over fresh seeds."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.confirmation.winner_rule import MARGIN, MOST_ROUNDS
from analysis.packages.package_files import PACKED
from analysis.suggested_commands import SearchCommands
from cli.environment import check_environment
from cli.exit_codes import DONE, FAILED
from cli.flags import read_real, read_whole
from cli.session import exit_status, recorded_settings, start_wandb_summary, typed_command
from vgg6.common.checks import Range
from vgg6.common.numbers_in_words import counted, duration, roughly
from vgg6.common.say import say
from vgg6.data import TrialData, load_recorded
from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.cluster.mps import may_share
from vgg6.tuning.run.folder import BEST, RunFolder
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.settings import Settings

IN_ROUNDS = "auto"  # what --confirm without a number reads as
TOP, MOST_CONFIRM = 5, 100
CONFIRMING_SHARE = 1 / 3  # of a search's time budget, kept for confirming its best
MARGINS = Range(0, 0.5)


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
    return f"{run} takes {roughly(longest)}, and the time budget is used up in {duration(left)}"


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
    run = search.folder
    before = search.confirmation or search.outdated
    known = before.seeds if before else []
    seeds = asked.seeds or max(MOST_ROUNDS, len(known))  # rounds leave no seed out
    began = time.monotonic()

    def session(where: str, settings: Settings, data: TrialData) -> Any:
        from analysis.confirmation import confirm as c
        from vgg6.tuning.session.plan import plan_confirmation

        candidates, fresh = c.choose(search.history, top, seeds)
        left = None if seconds is None else max(1.0, seconds - (time.monotonic() - began))
        runs = len(candidates) * seeds
        plan = plan_confirmation(where, settings, search.facts, data, runs, left)
        return c.confirm(
            search, replace(plan, to_go_on=to_go_on), candidates, fresh, typed_command(args),
            margin=asked.margin, until_settled=asked.seeds is None,
        )  # fmt: skip

    def look_at_test(found: Any) -> None:
        from analysis.winner.export import look_at_winner

        look_at_winner(replace(search, confirmation=found, outdated=None))

    status, found = _run(search, args, to_go_on, session, look_at_test)
    if found is not None and run.local:
        from analysis.winner.export import export_best

        export_best(replace(search, confirmation=found, outdated=None), Path(run.path) / PACKED)
    return status


def confirm_front(search: Search, args: argparse.Namespace, seeds: int, to_go_on: str) -> int:
    """Train the best network of each size again with so many fresh ``seeds``.

    Returns the exit status.
    """

    def session(where: str, settings: Settings, data: TrialData) -> Any:
        from analysis.front import confirm_front as c
        from vgg6.tuning.session.plan import plan_confirmation

        trials, fresh = c.choose_front(search, seeds)
        plan = plan_confirmation(where, settings, search.facts, data, len(trials) * seeds)
        plan = replace(plan, to_go_on=to_go_on)
        return c.confirm_front(search, plan, trials, fresh, typed_command(args))

    return _run(search, args, to_go_on, session)[0]


def _run(
    search: Search,
    args: argparse.Namespace,
    to_go_on: str,
    session: Callable[[str, Settings, TrialData], Any],
    use: Callable[[Any], None] = lambda found: None,
) -> tuple[int, Any]:
    """Run a confirmation on Ray, in the arithmetic and on the images of its search.

    Args:
        session: given where Ray runs, runs it. Returns the outcome, and what was found or None.
        use: is told what was found, before it is logged.

    Returns the exit status, and what was found or None.
    """
    settings = recorded_settings(search.facts, args)
    check_environment(settings.address, settings.wandb)
    _, data = load_recorded(search.facts.data)
    shares = may_share(settings)
    with connected(settings.address, settings.verbose, to_go_on, shares) as where:
        from analysis.winner.ranking import winner_of

        winner_of(search)  # or a word on why there is none
        outcome, found = session(where, settings, data)
    for problem in outcome.tracker_problems:
        say(problem)
    if found is None:
        say(f"confirmation {outcome.outcome}: {outcome.detail}. To go on: {to_go_on}")
    else:
        use(found)
        if problem := start_wandb_summary(search.folder, settings).finish(outcome.wandb_seconds):
            say(problem)
    return exit_status(outcome), found
