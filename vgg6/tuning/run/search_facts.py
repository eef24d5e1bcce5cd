"""``search.json``: what a search was asked, typed and checked as it is read.

Anybody may have made it. It is written through the same types.
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
    Text,
    leaf,
    located,
    one_of,
    read_record,
    whole,
)
from vgg6.metric import Metric
from vgg6.run_record import Config, DataFacts, RuntimeFacts
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED
from vgg6.tuning.settings import Settings

# In format 1 the scheduler that is now called asha-stop was called asha. Searches of format 3 can
# be extended, and their journals hold what a model has learnt.
FORMAT = 3
RETIRED = ("stop_margin",)  # settings that older searches have
# Searchers that older searches have; what is left of them is for the other one.
RETIRED_SEARCHERS, SUCCESSOR = ("forest",), "gp"


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


def read_facts(run: RunFolder) -> SearchFacts:
    """``search.json``.

    Raises:
        InputError: it is no JSON, of a later version, or breaks a rule; names the file and the key.
    """
    return read_record(SearchFacts, run.read_json(SEARCH), f"{run.file(SEARCH)}: ")
