"""``search`` and ``resume``: run a search, and go on with it."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis.confirmation.winner_rule import MOST_ROUNDS
from analysis.packages.package_files import PACKED
from analysis.suggested_commands import SearchCommands, again, command, from_here, unused
from cli.confirm import CONFIRMING_SHARE, Confirming, add_confirm_flags, confirm_after
from cli.environment import check_environment
from cli.exit_codes import DONE, FAILED
from cli.extend import (
    add_extension_flags,
    dry_run,
    extended,
    plan_in_words,
    read_extension,
    words_of,
)
from cli.flags import add_fields, add_run_argument, add_session_flags, heading_of, read_fields
from cli.output import say_what_is_odd
from cli.session import (
    exit_status,
    recorded_settings,
    saying_how_to_resume,
    start_wandb_summary,
    typed_command,
)
from search_spaces import SPACE_NAMES, Space, load_space
from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import duration
from vgg6.common.say import say
from vgg6.common.schema import located
from vgg6.data import data_facts, image_facts, load_recorded, load_source, split
from vgg6.footprint.limits import all_in_words
from vgg6.tuning.algorithms.warm_start import WarmStart, begin_from, read_earlier
from vgg6.tuning.cluster.connect import HERE, connected
from vgg6.tuning.cluster.mps import may_share
from vgg6.tuning.run import training_depth
from vgg6.tuning.run.driver_lock import announced
from vgg6.tuning.run.folder import BEST, SEARCH, RunFolder, new_run, open_run
from vgg6.tuning.run.search import Search, check_params, read_search
from vgg6.tuning.settings import RESULTS, SEARCHED, Settings

TO_THE_END = ("--scheduler", "none")
CONFIRM = (
    "train the best 5 again at the end, with N fresh seeds each; a third of a time budget is for it"
)
KEPT = "are kept for packing the best and training it again"


def add_commands(add: Any) -> None:
    p = add(
        "search",
        search,
        "search for the best configuration on this machine or a cluster",
        usage="tune_vgg6.py search [FLAGS]",
    )
    heading_of(p, SEARCHED).add_argument(
        "--space",
        default="default",
        metavar="NAME|FILE.yaml",
        help=f"what may vary: {', '.join(SPACE_NAMES)}, or your own file (default: default)",
    )
    heading_of(p, SEARCHED).add_argument(
        "--warm-start",
        nargs="+",
        default=[],
        metavar="RUN",
        help="earlier searches to begin from: their best configurations are tried first",
    )
    add_fields(p, Settings)
    heading_of(p, RESULTS).add_argument(
        "--dry-run", action="store_true", help="print the plan and an estimate, and start nothing"
    )
    add_confirm_flags(heading_of(p, RESULTS), CONFIRM)
    p = add("resume", resume, "go on with a search where it stopped, or extend it")
    add_run_argument(p)
    add_extension_flags(p)
    add_confirm_flags(p, CONFIRM)
    add_session_flags(p)


def search(args: argparse.Namespace) -> int:
    asked, began = Confirming.read(args), time.monotonic()
    settings, space = read_settings(args), load_space(args.space)
    if settings.flip is not None:
        space = space.with_fixed("flip", settings.flip)
    if settings.searcher == "grid":
        space.grid()
    check_environment(settings.address, settings.wandb)
    run = new_run(settings.name, settings.storage, lambda run: SearchCommands(run).resume())
    with nullcontext() if args.dry_run else announced(run):
        return _search(args, run, settings, space, asked, began)


def _search(
    args: argparse.Namespace,
    run: RunFolder,
    settings: Settings,
    space: Space,
    asked: Confirming | None,
    began: float,
) -> int:
    """Read what the search needs and run it, or show its plan."""
    earlier = read_earlier(args.warm_start, settings, space) if args.warm_start else []
    how = settings.reading
    source = load_source(settings.data, how)
    data = split(source, split_seed=settings.split_seed, limit_train=settings.limit_train)
    say_what_is_odd(source, data, settings.flip)
    if settings.limits:
        from vgg6.tuning.algorithms.space_within_limits import fit_to

        space = fit_to(space, settings.limits, image_facts(source))
        say(f"the space is cut to networks of {all_in_words(settings.limits)}")
    space, warm = begin_from(earlier, space, settings, data.fingerprint)
    budget = settings.budget(source.name)
    if asked and budget:
        settings = replace(settings, time_budget=budget * (1 - CONFIRMING_SHARE))
    if args.dry_run:
        from vgg6.tuning.session.plan import dry_run as dry_run_of_new

        plan = dry_run_of_new(settings, space, data, warm)
        print(plan.text)
        if asked and budget:
            print(f"confirmed    in what is left of {duration(budget)}, about a third of it")
        if plan.rests_on_few:
            print("warning: the ranking would rest on one or two complete trials, and so on chance")
            words = [word for word in args.typed if word not in ("--dry-run", "--dry_run")]
            print(f"for a safer answer, train all to the end: {command(*words, *TO_THE_END)}")
        return DONE
    to_go_on = SearchCommands(run).resume(*(asked.words if asked else []))
    facts = data_facts(
        settings.data,
        source,
        data,
        split_seed=settings.split_seed,
        limit_train=settings.limit_train,
        how=how,
    )

    def session(where: str) -> Any:
        from vgg6.tuning.session.start import start_search

        if asked and budget:
            say(f"of {duration(budget)}, {duration(budget * CONFIRMING_SHARE)} {KEPT}")
        return start_search(
            where, run, settings, space, data, facts, typed_command(args), warm, to_go_on,
            began if asked else None,
        )  # fmt: skip

    saying = partial(saying_how_to_resume, run, to_go_on)
    end = None if budget is None else began + budget
    return _on_ray(session, saying, run, args, settings, asked, to_go_on, end)


def read_settings(args: argparse.Namespace) -> Settings:
    """The search's settings from its flags, each checked; those not given take their default."""
    return Settings(**{"name": time.strftime("search-%Y%m%d-%H%M%S")} | read_fields(args, Settings))


def resume(args: argparse.Namespace) -> int:
    asked, began = Confirming.read(args), time.monotonic()
    found = read_search(open_run(args.run, args.storage))
    run, known = found.folder, len(found.facts.extensions)
    if run.local and not os.access(run.path, os.W_OK):
        rule = "cannot be written: it is another user's, or on storage that is read-only"
        raise InputError("run", run.path, rule)
    added = read_extension(args, found, confirming=asked is not None)
    check_params(found)
    with located(f"{run.file(SEARCH)}: "):
        WarmStart.from_facts(found.facts.warm_start, found.space, found.metric)
    if added:
        found = extended(found, added)
    settings = recorded_settings(found.facts, args)
    check_environment(settings.address, settings.wandb)
    if args.dry_run:
        print(dry_run(found))
        return DONE
    confirming = asked.words if asked else []
    to_go_on = SearchCommands(run).resume(*confirming)
    if not added and not asked and found.has_ended:
        return _show_again(found, settings, to_go_on)
    for line in plan_in_words(found):
        say(line)
    to_extend = SearchCommands(run).resume(*words_of(args), *confirming) if added else ""
    saying = partial(saying_how_to_resume, run, to_go_on, to_extend, known)
    with saying():
        _, data = load_recorded(found.facts.data)

    def session(where: str) -> Any:
        from vgg6.tuning.session.start import resume_search

        return resume_search(
            where, found, settings, data, to_go_on, added, began if asked else None
        )

    budget = settings.time_budget  # of the search alone: what it kept for this comes on top
    end = None if budget is None else began + budget / (1 - CONFIRMING_SHARE)
    return _on_ray(session, saying, run, args, settings, asked, to_go_on, end)


def _show_again(found: Search, settings: Settings, to_go_on: str) -> int:
    """Show and pack the winner of a search that has nothing left to run, without a Ray."""
    from vgg6.tuning.session.session_outcome import Outcome, outcome_of

    more = SearchCommands(found.folder).resume("--trials", "N")
    say(f"nothing is left to run; to add trials: {more}")
    history, trials = found.history, found.facts.trials
    how = outcome_of(history, trials, "", exhausted=len(history.trials) < trials)
    return finish(found.folder, Outcome(*how, [], 0.0), settings, to_go_on)


def _on_ray(
    session: Callable[[str], Any],
    saying: Callable[[], AbstractContextManager[None]],
    run: RunFolder,
    args: argparse.Namespace,
    settings: Settings,
    asked: Confirming | None,
    to_go_on: str,
    end: float | None,
) -> int:
    """Run a session, then the confirmation that was asked for, on one Ray.

    Args:
        session: given where Ray runs, runs the search and returns how it ended.
        saying: says how to go on where the session is interrupted.
        end: when the confirmation's time is used up, on the monotonic clock.

    Returns the exit status.
    """
    with ExitStack() as joined:
        with saying():
            ray = connected(settings.address, settings.verbose, to_go_on, may_share(settings))
            where = joined.enter_context(ray)
            outcome = session(where)
            if asked is None or where != HERE:
                joined.close()
            status = finish(run, outcome, settings, to_go_on)
        if asked is None or status != DONE:
            return status
        return confirm_after(run, args, asked, end)


def finish(run: RunFolder, outcome: Any, settings: Settings, to_go_on: str) -> int:
    """Write the tables of a session that has ended. If the search is complete, pack its winner.
    ``to_go_on``: the command that resumes it.

    Returns the exit status.
    """
    from analysis.results.search_tables import write_tables
    from vgg6.tuning.session.session_outcome import ALL_FAILED, COMPLETE

    if outcome.outcome not in (COMPLETE, ALL_FAILED):
        say(f"incomplete: {outcome.detail}. To go on: {to_go_on}")
    found = read_search(run)
    write_tables(found)
    for problem in outcome.tracker_problems:
        say(problem)
    if outcome.outcome == ALL_FAILED:
        say(f"error: {outcome.detail}")
        return FAILED
    if outcome.outcome == COMPLETE:
        in_wandb = start_wandb_summary(run, settings)  # it works beside what follows
        not_packed = _finish_complete(found, outcome.detail, settings)
        if problem := in_wandb.finish(outcome.wandb_seconds):
            say(problem)
        if not_packed:
            say(f"error: the winner is not packed: {not_packed}")
            return FAILED
    return exit_status(outcome)


def _finish_complete(search: Search, how: str, settings: Settings) -> str:
    """Show the winner of a complete search, pack it, and say what can be done next. Returns why it
    could not be packed; empty where it was."""
    from analysis.winner.export import export_best
    from analysis.winner.ranking import summary
    from analysis.winner.render_ranking import render as render_ranking

    found, run = summary(search, top=5), search.folder
    run.write_json(BEST, found.to_dict())
    packed, problem = Path(run.path) / PACKED, ""
    if run.local:  # before anything is printed: whoever reads may be gone
        try:
            export_best(search, packed, look_at_test=False)
        except InputError as error:  # the search took hours, and its ranking stands
            problem = str(error)
    print(render_ranking(found))
    print(f"{how}: {training_depth.in_words(search.history)}")
    if few := training_depth.rests_on_few(search.history):
        print(f"warning: {few}")
    print(f"Results: {Path(run.path).resolve() if run.local else run.uri}")
    if run.local and not problem:
        print(f"  packed in     {from_here(packed.resolve())}")
    commands = SearchCommands(run)
    if few and settings.scheduler != "none":
        print(f"  train all     {again(search.facts.command, *TO_THE_END)}")
        print("                trains every trial to its end, for a safer answer than chance")
    print(f"  best again    {commands.best()}")
    print(f"  confirm       {commands.best('--confirm')}")
    print(f"                trains the best over up to {MOST_ROUNDS} fresh seeds, until settled,")
    print("                then scores the test images, once")
    print(f"  export        {commands.export(unused('packed'))}")
    return problem
