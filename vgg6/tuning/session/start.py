"""A new search and a resumed one: plan, then run the session."""

from __future__ import annotations

from dataclasses import replace

import ray

from search_spaces import Space
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.data import DataFacts, TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.algorithms.warm_start import WarmStart, describe_sources
from vgg6.tuning.cluster.allotment import kinds, live_nodes, of_kind
from vgg6.tuning.cluster.connect import HERE
from vgg6.tuning.cluster.shared_storage import check_shared
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import Search
from vgg6.tuning.session.extend import changes_of
from vgg6.tuning.session.plan import make_plan
from vgg6.tuning.session.session import create_run, run_session
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.settings import Settings


def start_search(
    where: str,
    run: RunFolder,
    settings: Settings,
    space: Space,
    data: TrialData,
    data_facts: DataFacts,
    command: str,
    warm: WarmStart,
    to_go_on: str = "",
    began: float | None = None,
) -> Outcome:
    """Start a new search on the Ray that this process has joined, and run it to its end.

    Args:
        warm: what it begins from; the first points are in ``space`` already.
        to_go_on: the command that resumes the search, for a person.
        began: when its time budget did, on the monotonic clock, if not with the session.

    Raises:
        InputError: no node can run a trial; a node does not see the storage.
    """
    plan = make_plan(settings, space, data, where)
    plan = replace(plan, warm=warm, to_go_on=to_go_on, began=began)
    for line in describe_sources(warm.sources):
        say(f"it begins from {line}")
    if where != HERE:
        check_shared(run, plan.allotment)
    usable = of_kind(live_nodes(ray.nodes()), settings.accelerator_type)
    gpus = kinds(usable) if plan.runtime.device == "cuda" else []
    create_run(run, plan, data_facts=data_facts, command=command, gpus=gpus)
    return run_session(run, plan)


def resume_search(
    where: str,
    search: Search,
    settings: Settings,
    data: TrialData,
    to_go_on: str = "",
    added: Extension | None = None,
    began: float | None = None,
) -> Outcome:
    """Go on with a search where it stopped.

    Args:
        settings: what was asked for, with all that was added.
        to_go_on: the command that resumes it once more, for a person.
        added: an extension that is in the search, and is to be recorded.
        began: as for ``start_search``.

    Raises:
        InputError: no node can run a trial; another process runs this search.
    """
    facts, history = search.facts, search.history
    warm = WarmStart.from_facts(facts.warm_start, search.space, facts.metric)
    # Its trials compute as they began, whatever is fastest here.
    recorded = Runtime(**facts.runtime.to_dict())
    changes = changes_of(
        settings, facts.extensions, search.space, history, added=warm.points,
        lengths=search.lengths,
    )  # fmt: skip
    again = len(history.begun_again) + len(changes.again)
    what = f"search {settings.name}: {counted((settings.trials or 0) + again, 'trial')}"
    plan = make_plan(settings, search.space, data, where, recorded, what)
    plan = replace(
        plan, warm=warm, to_go_on=to_go_on, extensions=tuple(facts.extensions), added=added,
        lengths=search.lengths, began=began,
    )  # fmt: skip
    return run_session(search.folder, plan)
