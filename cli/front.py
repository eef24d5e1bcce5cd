"""``best --front --confirm N``: the best network of each size, trained again over fresh seeds."""

from __future__ import annotations

import argparse
from dataclasses import replace

from cli.environment import check_environment
from cli.session import exit_status, log_whole_search, recorded_settings, typed_command
from vgg6.common.say import say
from vgg6.data import load_recorded
from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.run.search import Search


def confirm_sizes(search: Search, args: argparse.Namespace, seeds: int, to_go_on: str) -> int:
    """Train each network of the front again with so many fresh ``seeds``.

    Returns the exit status.
    """
    facts = search.facts
    settings = recorded_settings(facts, args)
    check_environment(settings.address, settings.wandb)
    _, data = load_recorded(facts.data)
    with connected(settings.address, settings.verbose, to_go_on) as where:
        from analysis.front.confirm_front import choose_front, confirm_front
        from analysis.winner.ranking import winner_of
        from vgg6.tuning.session.plan import plan_confirmation

        winner_of(search)  # or a word on why there is none
        trials, fresh = choose_front(search, seeds)
        plan = plan_confirmation(where, settings, facts, data, len(trials) * seeds)
        plan = replace(plan, to_go_on=to_go_on)
        outcome, found = confirm_front(search, plan, trials, fresh, typed_command(args))
    if outcome.wandb_problem:
        say(outcome.wandb_problem)
    if found is None:
        say(f"confirmation {outcome.outcome}: {outcome.detail}. To go on: {to_go_on}")
    else:
        log_whole_search(search.folder, settings, outcome.wandb_seconds)
    return exit_status(outcome)
