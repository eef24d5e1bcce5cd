"""What the files of a run folder hold, typed and checked as they are read: anybody may have made
them.

``search.json`` says what was asked, ``confirmation.json`` what ``best --confirm`` found. Both are
written through the same types.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, model_validator

from search_spaces import Space
from vgg6.common.checks import InputError, Range, check_integer, check_key, check_number
from vgg6.common.schema import (
    Count,
    Real,
    Record,
    Seed,
    Share,
    Text,
    at_least,
    leaf,
    located,
    one_of,
    read_record,
    whole,
)
from vgg6.metric import ACCURACY, ByMetric, Metric
from vgg6.run_record import Config, DataFacts, EpochMetrics, MetricName, RuntimeFacts
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import CONFIRMATION, SEARCH, RunFolder
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED
from vgg6.tuning.settings import Settings

# In format 1 the scheduler that is now called asha-stop was called asha. Searches of format 3 can
# be extended, and their journals hold what a model has learnt.
FORMAT = 3
RETIRED = ("stop_margin",)  # settings that older searches have
# Searchers that older searches have; what is left of them is for the other one.
RETIRED_SEARCHERS, SUCCESSOR = ("forest",), "gp"
# How a candidate stands to the winner: shown to be worse, shown to be at most the margin better,
# neither of the two, or without a score of one of its seeds.
STANDS = WORSE, WITHIN, OPEN, DIVERGED = "worse", "within", "open", "diverged"


def _format(field: str, value: Any) -> None:
    check_integer(field, value, Range(1, 10**6))
    if value > FORMAT:
        rule = f"is of a later version of this tool, which must read it: this one reads {FORMAT}"
        raise InputError(field, value, rule)


def _mapping(value: Any) -> None:
    if not isinstance(value, dict):
        raise InputError("", value, "is not a mapping of names to values")


def _settings(field: str, value: Any) -> Settings:
    if isinstance(value, Settings):
        return value
    _mapping(value)
    for name in value:
        check_key(field, name, (*Settings.__dataclass_fields__, *RETIRED))
    if "name" not in value:
        raise InputError(field, "name", "is missing")
    asked = {k: v for k, v in value.items() if k not in RETIRED}
    searcher = asked.get("searcher")
    if searcher in RETIRED_SEARCHERS:
        asked["searcher"] = SUCCESSOR
    uri = asked.pop("mlflow", None)
    if uri is not None and not isinstance(uri, str):
        raise InputError("mlflow", uri, "is not text")
    settings = Settings(**asked)
    object.__setattr__(settings, "mlflow", uri)  # MLflow need not be installed to read of it
    if searcher in RETIRED_SEARCHERS:
        object.__setattr__(settings, "searcher", searcher)
    return settings


def _space(field: str, value: Any) -> Space:
    if isinstance(value, Space):
        return value
    _mapping(value)
    with located("", drop=f"space {value.get('name')!r}: "):
        return Space.from_dict(value)


Format = Annotated[int, leaf(_format)]


_OFTEN_NONE = ("gpus", "warm_start", "extensions")


class EarlierSearch(Record):
    """What a search took from an earlier one: so many first ``points``, and trials ``told`` to its
    sampler; ``why`` says what kept it from more."""

    run: Text
    data: Text
    points: Count
    told: Count
    why: Text


class ToldTrial(Record):
    """A trial of an earlier search, by its number there. ``scores``: its best so far by epoch, by
    the metric of both searches."""

    trial: Count
    config: Config
    state: Annotated[str, one_of(COMPLETED, PRUNED, INFEASIBLE)]
    scores: list[Real]


class WarmStartFacts(Record):
    sources: list[EarlierSearch]
    told: list[ToldTrial]


class SearchFacts(Record):
    """``search.json``: what was asked, of which data, on what.

    ``trials``: how many there were to be; ``gpus``: the kinds that trials compute on, as Ray names
    them; ``versions``: of Python and the packages. ``trials`` and ``settings`` are those that the
    search began with; ``extensions`` say what was added since.
    """

    format: Format
    name: Text
    created: Text = ""
    command: Text = ""
    trials: Annotated[int, whole(0, 10**6)]
    settings: Annotated[Settings, leaf(_settings), PlainSerializer(Settings.to_dict)]
    space: Annotated[Space, leaf(_space), PlainSerializer(Space.to_dict)]
    data: DataFacts
    runtime: RuntimeFacts
    versions: dict[str, Any] = Field(default_factory=dict)
    gpus: list[Text] = Field(default_factory=list)
    warm_start: WarmStartFacts | None = None
    extensions: list[Extension] = Field(default_factory=list)

    @property
    def metric(self) -> Metric:
        """What its trials are ranked by."""
        return self.settings.measure

    @model_validator(mode="after")
    def _told_in_its_metric(self) -> SearchFacts:
        for index, trial in enumerate(self.warm_start.told if self.warm_start else ()):
            for place, score in enumerate(trial.scores):
                where = f"warm_start.told[{index}].scores[{place}]"
                check_number(where, score, self.metric.range)
        return self

    @model_validator(mode="before")
    @classmethod
    def _scheduler_by_its_name(cls, value: dict[str, Any]) -> dict[str, Any]:
        asked = value.get("settings")
        if (
            value.get("format") == 1
            and isinstance(asked, dict)
            and asked.get("scheduler") == "asha"
        ):
            return {**value, "settings": {**asked, "scheduler": "asha-stop"}}
        return value

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what most searches lack only where it is there."""
        facts = super().to_dict()
        return {k: v for k, v in facts.items() if v or k not in _OFTEN_NONE}


class ConfirmationRun(Record):
    """One seed of a candidate. ``score``: its best epoch's by the search's metric; ``val_acc``: the
    accuracy there; ``seconds``: of all its epochs. Files of earlier versions go by accuracy and
    lack the score."""

    seed: Seed
    val_acc: Share | None
    score: Real | None = None
    best_epoch: Count | None = None
    epochs_run: Count = 0
    seconds: Real = 0.0
    state: Text
    reason: Text = ""
    history: list[EpochMetrics]

    @property
    def result(self) -> float | None:
        """Its score by the search's metric; None where it has none."""
        return self.val_acc if self.score is None else self.score


class Candidate(Record):
    """A configuration that was run over fresh seeds.

    ``mean``: of its scores by the search's metric, None where no run was completed; ``low`` to
    ``high``: its interval, made of ``sd``, the standard deviation of one score, for which all
    candidates are asked; ``optimism``: by how much its score in the search is better than the mean,
    None where its trial was not trained as long; ``eliminated_after``: so many seeds; ``tied``: not
    shown to be worse than the winner; ``cost``: FLOPs of training it once.

    ``behind``: by how much its mean is below that of ``compared_with``, which is the winner, or the
    best of its last round if it was dropped; ``behind_low`` to ``behind_high``: the bounds that
    decided; ``stands``: how it stands to the winner, empty for the winner itself.
    """

    trial: Count
    label: Text
    config: Config
    fingerprint: Text = ""
    search_score: Real
    mean: Real | None
    sd: Real | None
    low: Real | None
    high: Real | None
    optimism: Real | None
    eliminated_after: Count | None
    tied: bool
    parameters: Count | None = None
    epoch_seconds: Real | None = None
    cost: Real | None = None
    compared_with: Count | None = None
    behind: Real | None = None
    behind_low: Real | None = None
    behind_high: Real | None = None
    stands: Annotated[str, one_of("", *STANDS)] = ""
    runs: list[ConfirmationRun]

    @property
    def finished(self) -> list[ConfirmationRun]:
        return [run for run in self.runs if run.state == COMPLETED]


class Confirmation(Record, ByMetric):
    """``confirmation.json``: the best of a search over fresh seeds, and the winner among them.

    ``metric``: what they were compared by; ``margin``: of it, by which a cheaper winner may be
    worse; ``more_seeds``: how many would tell which of ``ties`` is the best, 0 where the winner is
    better than each rival or shown to be within the margin of it. Both are None in files of earlier
    versions. ``extensions``: how many the search had by then.
    """

    format: Format
    level: Share
    top: Annotated[int, whole(1, 10**6)]
    seeds: list[Seed]
    epochs: Count = 0
    candidates: Annotated[list[Candidate], at_least(1)]
    winner: Count
    ties: list[Count]
    why: Text
    representative_seed: Seed
    created: Text = ""
    command: Text = ""
    margin: Share | None = None
    more_seeds: Count | None = None
    extensions: Count = 0
    metric: MetricName = ACCURACY.name

    @model_validator(mode="after")
    def _scored_in_its_metric(self) -> Confirmation:
        for index, candidate in enumerate(self.candidates):
            where, allowed = f"candidates[{index}]", self.measure.range
            check_number(f"{where}.search_score", candidate.search_score, allowed)
            for place, run in enumerate(candidate.runs):
                if run.result is not None:
                    check_number(f"{where}.runs[{place}].score", run.result, allowed)
        return self

    @model_validator(mode="after")
    def _winner_is_whole(self) -> Confirmation:
        if self.winner not in [c.trial for c in self.candidates]:
            raise InputError("winner", self.winner, "is none of the candidates")
        if self.chosen.mean is None:
            raise InputError("winner", self.winner, "is a candidate without a mean")
        seed = self.representative_seed
        if seed not in [run.seed for run in self.chosen.finished if run.history]:
            raise InputError("representative_seed", seed, "is of no completed run of the winner")
        return self

    @property
    def chosen(self) -> Candidate:
        """The candidate that won."""
        return next(c for c in self.candidates if c.trial == self.winner)

    @property
    def representative(self) -> ConfirmationRun:
        """The winner's run in the middle, whose weights are kept."""
        runs = self.chosen.finished
        return next(run for run in runs if run.seed == self.representative_seed)


def read_facts(run: RunFolder) -> SearchFacts:
    """``search.json``.

    Raises:
        InputError: it is no JSON, of a later version, or breaks a rule; names the file and the key.
    """
    return read_record(SearchFacts, run.read_json(SEARCH), f"{run.file(SEARCH)}: ")


def read_confirmation(run: RunFolder) -> Confirmation | None:
    """``confirmation.json``, or None where nothing is confirmed yet.

    Raises:
        InputError: as ``read_facts``; or its winner is none of its candidates, or has no run.
    """
    if not run.exists(CONFIRMATION):
        return None
    return read_record(Confirmation, run.read_json(CONFIRMATION), f"{run.file(CONFIRMATION)}: ")
