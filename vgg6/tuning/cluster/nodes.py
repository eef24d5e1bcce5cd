"""The watch over the cluster: how many trials its nodes hold, and whether it still answers.

Nodes come and go while a search runs. The search grows into those that join, waits for one when
none is left, and ends by name when the cluster's control process (Ray's GCS) is gone: Ray itself
would abort the driver a minute later.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter

from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.tuning.cluster.allotment import Allotment, live_nodes
from vgg6.tuning.cluster.awake_clock import AwakeClock
from vgg6.tuning.cluster.connect import ClusterLost
from vgg6.tuning.cluster.ray_internals import end_local_ray
from vgg6.tuning.cluster.reaper import nothing_more_to_say
from vgg6.tuning.cluster.retries import fewer
from vgg6.tuning.run.history import History

POLL_S = 2.0
WAITING_S = 5.0  # how long no node can hold a trial before it is said
LOST_S = 20.0  # no answer for so long: the control process is gone
# Then this process, which may wait inside Ray, is ended: well before Ray itself would abort it.
EXIT_S = 10.0
SAY_AGAIN_S = 60.0


class NodeWatch(tune.Callback):
    """Follows the cluster from a thread of its own: asking a dead one may never return.

    Args:
        limiter: told how many trials may run at once whenever that changes.
        allotment: what a trial gets.
        history: of the search; says how many trials ran out of device memory.
        to_go_on: the command that resumes the search, for a person.
    """

    def __init__(
        self,
        limiter: ConcurrencyLimiter,
        allotment: Allotment,
        history: History,
        to_go_on: str = "",
    ) -> None:
        self.to_go_on = to_go_on
        self.limiter, self.allotment, self.history = limiter, allotment, history
        self._enlarged = 0
        self._nodes: list[dict[str, Any]] = ray.nodes()
        self._known = _alive(self._nodes)
        self._now = AwakeClock()
        self._answered = self._now()
        self._ended = threading.Event()
        self._empty_since: float | None = None
        self._said = 0.0

    def __enter__(self) -> NodeWatch:
        threading.Thread(target=self._poll, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not ClusterLost:  # else what follows may hang as well
            self._ended.set()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Grow or shrink with the cluster, and say what happened to it.

        Raises:
            ClusterLost: it does not answer.
        """
        if self._now() - self._answered > LOST_S:
            raise ClusterLost("the Ray cluster answers no more: its control process is gone")
        now = _alive(self._nodes)
        holds = self.allotment.fits(live_nodes(self._nodes))
        self.limiter.max_concurrent = fewer(self.allotment.at_once(holds), self.history.enlarged)
        if self.history.enlarged > self._enlarged:
            self._enlarged = self.history.enlarged
            now_fit = self.limiter.max_concurrent
            most = counted(now_fit, "trial")
            say(f"device memory was short: {most} at once from here on, at most")
        if now != self._known:
            gone, new = self._known.keys() - now.keys(), now.keys() - self._known.keys()
            names = [f"node {self._known[n]} is gone" for n in sorted(gone)]
            names += [f"node {now[n]} has joined" for n in sorted(new)]
            say(f"{', '.join(names)}: the cluster now holds {counted(holds, 'trial')} at once")
            self._known = now
        self._say_if_waiting(holds)

    def _say_if_waiting(self, holds: int) -> None:
        now = time.monotonic()
        if holds:
            if self._said:
                say("a node can run trials again")
            self._empty_since, self._said = None, 0.0
            return
        self._empty_since = self._empty_since or now
        if now - self._empty_since > WAITING_S and now - self._said > SAY_AGAIN_S:
            self._said = now
            say("no node can run a trial: waiting for one")

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            self._nodes, self._answered = ray.nodes(), self._now()

    def _watch(self) -> None:
        """End the process where the main thread cannot: it may wait for the cluster for ever."""
        while self._now() - self._answered < LOST_S + EXIT_S:
            if self._ended.wait(POLL_S):
                return
        say(f"incomplete: the Ray cluster answers no more. To go on: {self.to_go_on}")
        nothing_more_to_say()
        end_local_ray()
        os._exit(1)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks for a restore of its own, which this tool never uses."""
        return {}


def _alive(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """The address of every live node by its id."""
    return {n["NodeID"]: n["NodeManagerAddress"] for n in nodes if n["Alive"]}
