"""A sampler for Optuna that models a search by a Gaussian process over its rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, qmc

from search_spaces import Space
from vgg6.common.seeds import derive_seed
from vgg6.tuning.algorithms.rung_gaussian_process import Array, RungProcess
from vgg6.tuning.algorithms.rung_scores import population, seen_at
from vgg6.tuning.algorithms.space_encoding import SpaceEncoding, distribution_of
from vgg6.tuning.algorithms.telling_rungs import first_telling
from vgg6.tuning.run.history import Learnt

RANDOM_SHARE = 1 / 3  # of the suggestions, spread evenly
START = 10  # trials that are spread evenly before the model is asked
GATE = 2.0  # at most so many suggestions of the model for each result above the first rung
LEAST_SEEN = 8  # scores of a rung from which on the model leaves out the rungs below it
MODELLED, HIGH_PART = 160, 0.75  # scores that are modelled; of them, at most above the first rung
REFIT = 1.15  # the model's constants are learnt again when there are so many times the scores
NEAR = 0.08  # length scales by which a suggestion lies away from trials that were not trained whole
LAST = 1e-6  # what the promise of a nearer one is worth, where nothing else is left
TAIL = 1.5  # a score below the median by more than this times the best's lead says no more
CANDIDATES, PARENTS, CHILDREN = 300, 8, 20
STRIDES = (0.045, 0.15)  # by which a child's places lie away from its parent's
CLIMBS, CLIMB_STRIDES = 3, (0.015, 0.045, 0.15)  # rounds of children of the best candidates

Key = tuple[tuple[str, Any], ...]  # a configuration's parameters, in the order of their names

Trials = Mapping[int, FrozenTrial]  # by their numbers, which are slow to ask a trial for


class ModelSampler(optuna.samplers.BaseSampler):
    """Suggests where a Gaussian process expects the most improvement at full length.

    Three things keep it from running after trials that merely start fast, two from standing still:

    - Trials that were seen at two rungs show how far the lower one can be trusted, again and again.
      A rung that ranks them otherwise than the next is left out (``first_telling``). From there
      on the process learns what each is worth (``RungProcess``). No gain to come is assumed.
    - A gate: at most ``GATE`` of its suggestions for each result above the first rung. Else many
      workers would be sent after the first impression.
    - A third of the suggestions, and all that the gate turns away, are spread evenly (Sobol). Where
      a finite space has had such a point, it is drawn anew, and may then be the model's.
    - No suggestion lies within ``NEAR`` of a trial that has not been trained whole. The model may
      still hope for its end, and would suggest it again and again.
    - Points that are trained whole are not modelled. Somebody chose them. One that starts late
      would make the first rungs look worthless for all.

    Args:
        space: what may vary. Suggestions hold every parameter that is active, and no other.
        rungs: the epochs at which trials are compared, the full length last.
        seed: of all that is random. Suggestions depend on it and on what the study has been told.
        made: how many trials of the study the model has suggested, where it is made anew.
        whole: how many of the space's points, the first ones, are trained whole.
    """

    def __init__(
        self, space: Space, rungs: Sequence[int], seed: int, made: int = 0, whole: int = 0
    ) -> None:
        self.space, self.rungs, self.made = space, list(rungs), made
        self.forgotten = 0  # scores above the first rung of trials that the study holds no more
        self.asked_model = False  # whether the last suggestion is the model's
        self.encoding = SpaceEncoding(space)
        self._whole = [space.params_of(point) for point in space.points[:whole]]
        self._own: dict[int, int] = {}  # the number of each one's trial
        self._seed = seed
        self._rng = self._learning = np.random.default_rng(seed)
        self._even = qmc.Sobol(len(self.encoding.names), rng=np.random.default_rng(seed))
        self._independent = optuna.samplers.RandomSampler(seed)
        self._distributions = {p.key: distribution_of(p) for p in space.parameters}
        self._process: RungProcess | None = None
        self._learnt_from = 0
        self._known: dict[int, Array] = {}  # inputs of a trial, by its number
        self._keyed: set[int] = set()  # trials whose configurations are among the keys
        self._keys: set[Key] = set()
        self._seen: dict[int, tuple[tuple[int, TrialState], list[float], bool]] = {}

    def begin(self, number: int, evens: int) -> None:
        """Make the next suggestions depend on the seed, on a trial's number and on what the study
        has been told alone, whatever was suggested before.

        Args:
            evens: how many trials before it were spread evenly.
        """
        seeds = (derive_seed(self._seed, number, what) for what in ("suggest", "learn", "rest"))
        suggest, learn, rest = seeds
        self._rng, self._learning = np.random.default_rng(suggest), np.random.default_rng(learn)
        self._independent = optuna.samplers.RandomSampler(rest % 2**32)
        if self._even.num_generated > evens:
            self._even.reset()
        if ahead := evens - self._even.num_generated:
            self._even.fast_forward(ahead)

    @property
    def learnt(self) -> Learnt | None:
        """The model's constants, for a sampler that takes over; None before they are learnt."""
        if self._process is None:
            return None
        return Learnt(self._learnt_from, self.rungs, self._process.constants)

    @learnt.setter
    def learnt(self, known: Learnt) -> None:
        process = RungProcess(len(self.encoding.inputs({})), len(self.rungs))
        if known.rungs == self.rungs and len(known.constants) == len(process.constants):
            process.constants = known.constants
            self._process, self._learnt_from = process, known.scores

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for the active parameters, by Optuna's names; none where a point is evaluated."""
        self.asked_model = False
        if "fixed_params" in trial.system_attrs:
            return {}
        told = {t.number: t for t in study.get_trials(deepcopy=False)}
        told.pop(trial.number, None)
        scores = self._rung_scores(told)
        far = self.forgotten + sum(map(len, scores[1:] or scores))
        early = len(told) < START or len(scores[0]) < START // 2
        if early or self._rng.random() < RANDOM_SHARE or self.made >= GATE * far:
            return self.encoding.at(self._even.random()[0])
        self.made, self.asked_model = self.made + 1, True
        return self._most_improving(told, scores)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value of what a point leaves open."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _rung_scores(self, trials: Trials) -> list[dict[int, float]]:
        """The scores of the trials that were seen at each rung, by their number."""
        found: list[dict[int, float]] = [{} for _ in self.rungs]
        diverged = []
        for number, t in trials.items():
            now = len(t.intermediate_values), t.state
            known = self._seen.get(number)
            if known is None or known[0] != now:
                hidden = self._is_own(t)
                known = now, *(([], False) if hidden else seen_at(t, self.rungs))
                self._seen[number] = known
            for rung, score in enumerate(known[1]):
                found[rung][number] = score
            if known[2]:
                diverged.append((len(known[1]), number))
        for rung, number in diverged:
            if rung < len(found) and found[rung]:
                found[rung][number] = min(found[rung].values())
        return found

    def _is_own(self, trial: FrozenTrial) -> bool:
        """Whether it is one of the points that are trained whole. What a point leaves open, its
        trial has drawn: then the first trial that has the point's values is the point's own."""
        for index, point in enumerate(self._whole):
            own = self._own.get(index, trial.number) == trial.number
            if own and point.items() <= trial.params.items():
                self._own[index] = trial.number
                return True
        return False

    def _most_improving(self, told: Trials, scores: list[dict[int, float]]) -> dict[str, Any]:
        rows, inputs, rungs, values = self._modelled_by(told, scores)
        process = self._learnt(inputs, rungs, values, sum(map(len, scores)))
        process.condition(inputs, rungs, values)
        # One that has begun and not reported is believed to come out as expected.
        not_seen = (n for n in told if n not in scores[0])
        begun = [n for n in not_seen if told[n].state == TrialState.RUNNING]
        if begun:
            waiting = np.array([self._inputs_of(n, told) for n in begun])
            top = np.full(len(begun), len(self.rungs) - 1)
            believed, _ = process.predict(waiting)
            process.condition(
                np.vstack([inputs, waiting]), np.concatenate([rungs, top]),
                np.concatenate([values, believed]),
            )  # fmt: skip
        numbers = list(dict.fromkeys(n for n, _, _ in rows))
        expected, _ = process.predict(np.array([self._inputs_of(n, told) for n in numbers]))
        best_first = [told[numbers[i]] for i in np.argsort(-expected)[:PARENTS]]
        candidates = self._candidates(best_first)
        complete = {*scores[-1], *self._own.values()}
        unfinished = [self._inputs_of(n, told) for n in told if n not in complete]
        tree, best = process.neighbours(unfinished), expected.max()

        def promise(places: Array) -> Array:
            inputs = self.encoding.inputs_at(places)
            gain = expected_improvement(*process.predict(inputs), best)
            return np.where(process.apart(inputs, tree, NEAR) < NEAR, gain * LAST, gain)

        gain = promise(candidates)
        for _ in range(CLIMBS):
            parents = candidates[np.argsort(-gain)[:PARENTS]]
            nearer = np.vstack([self._children(places, CLIMB_STRIDES) for places in parents])
            candidates = np.vstack([candidates, nearer])
            gain = np.concatenate([gain, promise(nearer)])
        for number in told.keys() - self._keyed:
            self._keyed.add(number)
            self._keys.add(_key(told[number].params))
        in_turn = (self.encoding.at(candidates[i]) for i in np.argsort(-gain))
        new = (params for params in in_turn if _key(params) not in self._keys)
        # A finite space, or a corner of one, may have nothing new left.
        return next(new, None) or self.encoding.at(self._rng.random(len(self.encoding.names)))

    def expected_ends(self, told: Sequence[FrozenTrial], inputs: Array) -> Array | None:
        """Scores at full length that the model expects, in no unit: they rank trials.

        Args:
            inputs: of the trials that are asked for, (n, inputs).

        Returns:
            (n,); None before the model has learnt anything.
        """
        if self._process is None:
            return None
        trials = {t.number: t for t in told}
        scores = self._rung_scores(trials)
        _, known, rungs, values = self._modelled_by(trials, scores)
        self._process.condition(known, rungs, values)
        return self._process.predict(inputs)[0]

    def _modelled_by(
        self, trials: Trials, scores: list[dict[int, float]]
    ) -> tuple[list[tuple[int, int, float]], Array, npt.NDArray[np.int64], Array]:
        """What the process is given: its rows, and their inputs, rungs and values."""
        rows = self._modelled(scores)
        inputs = np.array([self._inputs_of(n, trials) for n, _, _ in rows])
        rungs = np.array([rung for _, rung, _ in rows])
        values = np.array([score for _, _, score in rows])
        means, spreads = population(scores)
        values = (values - means[rungs]) / spreads[rungs]
        middle = np.median(values)
        values = np.maximum(values, middle - TAIL * max(values.max() - middle, 1e-3))
        return rows, inputs, rungs, values

    def _modelled(self, scores: list[dict[int, float]]) -> list[tuple[int, int, float]]:
        """Trial, rung and score of what the process is given: the highest rungs first, the newest
        of a rung first, and a sample of the lowest rung that tells something."""
        seen = [rung for rung, at_rung in enumerate(scores) if len(at_rung) >= LEAST_SEEN]
        lowest = min(first_telling(scores[:-1]), max(seen, default=0)) if scores[1:] else 0
        rows = [
            (number, rung, score)
            for rung in range(len(scores) - 1, lowest, -1)
            for number, score in reversed(scores[rung].items())
        ]
        first = [(number, lowest, score) for number, score in scores[lowest].items()]
        if len(rows) + len(first) > MODELLED:
            rows = rows[: int(HIGH_PART * MODELLED)]
            room = min(len(first), MODELLED - len(rows))
            first = [first[i] for i in self._rng.choice(len(first), room, replace=False)]
        return rows + first

    def _learnt(
        self, inputs: Array, rungs: npt.NDArray[np.int64], values: Array, count: int
    ) -> RungProcess:
        if self._process is None:
            self._process = RungProcess(inputs.shape[1], len(self.rungs))
        # There are fewer where a study was made anew of a part of its trials.
        if count >= REFIT * self._learnt_from + 1 or count < self._learnt_from:
            self._learnt_from = count
            self._process.learn(inputs, rungs, values, self._learning)
        return self._process

    def _inputs_of(self, number: int, trials: Trials) -> Array:
        if number not in self._known:
            self._known[number] = np.array(self.encoding.inputs(trials[number].params))
        return self._known[number]

    def _candidates(self, best_first: Sequence[FrozenTrial]) -> Array:
        """Places of points anywhere, and of some beside the best ones, (n, names)."""
        anywhere = [self._rng.random((CANDIDATES, len(self.encoding.names)))]
        anywhere += [self._children(self.encoding.places(t.params), STRIDES) for t in best_first]
        return np.vstack(anywhere)

    def _children(self, parent: Array, strides: Sequence[float]) -> Array:
        return self.encoding.beside(parent, CHILDREN, strides, self._rng)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much a normal variable is expected to exceed ``best`` (Jones et al., 1998)."""
    deviation = np.maximum(deviation, 1e-6)
    away = (mean - best) / deviation
    return np.asarray(deviation * (away * norm.cdf(away) + norm.pdf(away)))


def _key(params: Mapping[str, Any]) -> Key:
    return tuple(sorted(params.items()))
