"""Any configuration, any YAML and any file of a run: valid, or an InputError that names the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made.runs import search_facts

from search_spaces import Space, load_space
from search_spaces.parameter import PARAMETER_NAMES
from vgg6.common.checks import InputError
from vgg6.config import CHOICES, FIELD_NAMES, TrialConfig
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import METRICS

MODEST = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [name for names in CHOICES.values() for name in names]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([*NAMES, 10**400, -(10**4000), "nan", "\0", 0.9, 64])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(FIELD_NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)


@MODEST
@given(
    st.dictionaries(
        st.sampled_from(FIELD_NAMES) | st.text(max_size=6) | st.integers(), ANYTHING, max_size=6
    )
)
def test_any_mapping_is_a_configuration_that_round_trips_or_is_refused_by_its_key(
    values: dict[Any, Any],
) -> None:
    try:
        config = TrialConfig.from_mapping(values)
    except InputError as error:
        assert error.field in FIELD_NAMES or error.value in values
        assert len(str(error)) < 6000
        return
    again = TrialConfig.from_mapping(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.fingerprint == config.fingerprint


@MODEST
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_space_or_an_input_error(tmp_path: Path, content: str | bytes) -> None:
    _load(
        tmp_path, content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    )


WORDS = st.sampled_from([*NAMES, "0.1", "1e-3", "64", "-1", "true", ".inf", "{}", "'", "~", ""])
VALUES = WORDS | st.lists(WORDS, max_size=3) | ANYTHING
PARAMETERS = st.sampled_from([*PARAMETER_NAMES, "epochs", "dropuot"])
ENTRY = st.dictionaries(
    st.sampled_from(["choices", "low", "high", "log", "step", "when", "lo"]),
    VALUES | st.dictionaries(PARAMETERS, VALUES, max_size=2),
    max_size=4,
)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "name": VALUES,
        "description": VALUES,
        "parameters": st.dictionaries(PARAMETERS, ENTRY | st.lists(ENTRY, max_size=3) | VALUES),
        "fixed": st.dictionaries(PARAMETERS, VALUES, max_size=3) | VALUES,
        "points": st.lists(st.dictionaries(PARAMETERS, VALUES, max_size=3), max_size=3) | VALUES,
        "paramters": VALUES,
    },
)


@MODEST
@given(SPACES)
def test_any_structure_of_plausible_keys_is_a_space_or_an_input_error(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    _load(tmp_path, _dumped(document))


def _dumped(document: Any) -> bytes:
    """As YAML; integers as hexadecimal where Python refuses to write them out."""
    try:
        return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")
    except ValueError:
        return repr(sorted(document)).encode()


def _load(folder: Path, content: bytes) -> None:
    (folder / "mine.yaml").write_bytes(content)
    try:
        space = load_space(str(folder / "mine.yaml"))
    except InputError as error:
        assert "mine.yaml" in str(error)
        return
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def _paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON document stands."""
    found = [above] if above else []
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += _paths(item, (*above, key))
    return found


FACTS = search_facts("made", 3)


@MODEST
@given(st.sampled_from(_paths(FACTS)), ANYTHING)
def test_any_value_in_search_json_is_taken_or_named(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    facts = json.loads(json.dumps(FACTS))
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    run = RunFolder(str(tmp_path))
    try:
        run.write_json(SEARCH, facts)
    except ValueError:  # an integer that Python does not write out
        return
    try:
        read_search(run)
    except InputError as error:
        assert SEARCH in str(error)


EVENTS = [
    {"event": "session", "time": 1.0, "session": "session_1"},
    {"event": "trial", "time": 1.0, "trial": 0, "config": TrialConfig().to_dict(), "params": {}},
    {"event": "epoch", "time": 1.0, "trial": 0, "epoch": 1, **dict.fromkeys(METRICS, 0.5)}
    | {"best_epoch": 1},
    {"event": "end", "time": 1.0, "trial": 0, "state": "completed", "reason": ""},
    {"event": "session_end", "time": 1.0, "session": "session_1", "outcome": "complete"},
]


@MODEST
@given(st.sampled_from(_paths(EVENTS)), ANYTHING)
def test_any_value_in_a_journal_is_taken_or_named(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    events = json.loads(json.dumps(EVENTS))
    inner = events
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    run = RunFolder(str(tmp_path))
    try:
        run.write(JOURNAL, "".join(json.dumps(event) + "\n" for event in events).encode())
    except ValueError:
        return
    try:
        history = read_history(run)
    except InputError as error:
        assert f"{JOURNAL} line" in str(error)
    else:
        assert all(0 <= t.best_val_acc <= 1 for t in history.ranking() if t.best_val_acc)
