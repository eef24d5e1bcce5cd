"""Search spaces: what they yield is always valid, and what a user writes wrong is said clearly."""

import csv
import json
import pickle

import optuna
import pytest
from support.paths import ROOT

from search_spaces import SPACE_NAMES, Parameter, Space, load_space
from vgg6.common.checks import InputError
from vgg6.config import MOMENTUM_OPTIMIZERS, TrialConfig

FOLDER = ROOT / "search_spaces"
EXAMPLE = str(FOLDER / "example.yaml")
ALL_SPACES = (*SPACE_NAMES, EXAMPLE)
LR_RANGES = {
    "sgd": (3e-3, 0.2),
    "nesterov": (3e-3, 0.2),
    "adam": (1e-4, 3e-3),
    "adamw": (1e-4, 3e-3),
    "nadam": (1e-4, 3e-3),
    "adagrad": (3e-3, 5e-2),
    "rmsprop": (3e-5, 1e-3),
}


def sample(space, count):
    """Configurations that Optuna's random sampler takes from a space, in-memory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


def load_text(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path))


def mapping(**entries):
    """A YAML document, as JSON, whose activation and optimizer can be conditioned on."""
    parameters = {
        "activation": {"choices": ["relu", "gelu"]},
        "optimizer": {"choices": ["sgd", "adam"]},
    }
    return json.dumps({"parameters": parameters | entries})


@pytest.mark.parametrize("name", ALL_SPACES)
def test_every_sample_of_a_space_is_a_valid_configuration(name):
    space = load_space(name)
    for values in sample(space, 200):
        config = TrialConfig.from_mapping(values)
        assert ("momentum" not in values) or config.optimizer in MOMENTUM_OPTIMIZERS
        assert {p.name for p in space.parameters if not p.when} <= values.keys()


@pytest.mark.parametrize("name", ["default", "wide"])
def test_the_learning_rate_and_momentum_follow_the_optimizer(name):
    samples = sample(load_space(name), 200)
    assert {values["optimizer"] for values in samples} == set(LR_RANGES)
    for values in samples:
        low, high = LR_RANGES[values["optimizer"]]
        assert low <= values["lr"] <= high
        assert ("momentum" in values) == (values["optimizer"] in ("sgd", "nesterov"))
        assert 0.8 <= values.get("momentum", 0.9) <= 0.98


@pytest.mark.parametrize("name", ALL_SPACES)
def test_points_come_back_through_optuna_unchanged(name):
    space = load_space(name)
    for point in space.points:
        params = space.params_of(point)
        suggested = space.suggest(optuna.trial.FixedTrial(params))
        length = {key: point[key] for key in ("epochs", "seed") if key in point}
        assert suggested | length == space.fixed | point


@pytest.mark.parametrize("name", ALL_SPACES)
def test_enqueued_points_are_what_optuna_tries_first(name):
    space = load_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.points:
        study.enqueue_trial(space.params_of(point))
    for point in space.points:
        trial = study.ask()
        space.suggest(trial)
        assert trial.params == space.params_of(point)


@pytest.mark.parametrize("name", ALL_SPACES)
def test_a_space_survives_json_and_pickle_exactly(name):
    space = load_space(name)
    text = json.dumps(space.to_dict(), sort_keys=True)
    again = Space.from_dict(json.loads(text))
    assert again == space
    assert [p.key for p in again.parameters] == [p.key for p in space.parameters]
    assert json.dumps(again.to_dict(), sort_keys=True) == text
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301


@pytest.mark.parametrize("name", ALL_SPACES)
def test_description_has_a_line_for_each_parameter(name):
    space = load_space(name)
    lines = space.describe().splitlines()
    assert [line.split()[0] for line in lines][: len(space.parameters)] == [
        p.name for p in space.parameters
    ]


def test_the_study_is_the_35_rows_of_its_table():
    space = load_space("study")
    with (FOLDER / "study.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ("activation", "optimizer", "lr", "batch_size", "epochs", "seed")
    expected = [TrialConfig.from_strings({name: row[name] for name in names}) for row in rows]
    assert [TrialConfig.from_mapping(point) for point in space.grid()] == expected
    assert len(expected) == len({config.fingerprint for config in expected}) == 35
    assert {config.epochs for config in expected} == {10, 20, 30}
    assert {config.seed for config in expected} == {42}


def test_sigmoide_is_the_studys_seven_sigmoid_runs_with_nothing_changed_but_to_relu():
    meant = [p for p in load_space("study").points if p["activation"] == "sigmoid"]
    trained = load_space("study_sigmoide").grid()
    assert [{**p, "activation": "relu"} for p in meant] == trained
    assert len(trained) == 7 and sum(p["epochs"] for p in trained) == 170


def test_the_study_grid_has_180_distinct_configurations_and_no_length_of_its_own():
    grid = load_space("study_grid").grid()
    assert len({TrialConfig.from_mapping(values).fingerprint for values in grid}) == 180
    assert len(grid) == 180
    assert all("epochs" not in values and "seed" not in values for values in grid)


def test_the_studys_runs_are_part_of_its_grid():
    grid = load_space("study_grid").grid()
    for point in load_space("study").points:
        assert {k: v for k, v in point.items() if k not in ("epochs", "seed")} in grid


def test_a_grid_gives_conditional_parameters_only_where_they_apply():
    space = Space(
        name="mine",
        parameters=(
            Parameter(name="optimizer", choices=("sgd", "adam")),
            Parameter(name="momentum", choices=(0.8, 0.9), when={"optimizer": ("sgd",)}),
            Parameter(name="batch_size", choices=(64, 128)),
        ),
        fixed={"norm": "batch"},
    )
    grid = space.grid()
    assert [(v["optimizer"], v.get("momentum"), v["batch_size"]) for v in grid] == [
        ("sgd", 0.8, 64),
        ("sgd", 0.8, 128),
        ("sgd", 0.9, 64),
        ("sgd", 0.9, 128),
        ("adam", None, 64),
        ("adam", None, 128),
    ]
    assert all(values["norm"] == "batch" for values in grid)


def test_a_grid_over_a_range_names_it_and_asks_for_choices():
    with pytest.raises(InputError, match=r"space 'default': parameters.lr\[0\]: .*`choices`"):
        load_space("default").grid()


def test_only_spaces_without_ranges_are_finite():
    finite = [name for name in ALL_SPACES if load_space(name).is_finite]
    assert finite == ["study", "study_sigmoide", "study_grid"]


def test_a_grid_too_large_for_memory_is_refused_before_it_is_built():
    rates = tuple(i / 1000 for i in range(1, 400))
    names = ("lr", "weight_decay", "dropout", "label_smoothing")
    space = Space(name="big", parameters=tuple(Parameter(name=n, choices=rates) for n in names))
    with pytest.raises(InputError, match="159201 combinations are more than"):
        space.grid()


def test_a_partial_point_leaves_the_rest_to_the_sampler(tmp_path):
    text = mapping(lr={"low": 0.001, "high": 0.1})[:-1] + ', "points": [{"activation": "gelu"}]}'
    space = load_text(tmp_path, text)
    assert space.params_of(space.points[0]) == {"activation": "gelu"}


def test_entries_of_one_name_have_keys_of_their_own():
    keys = [p.key for p in load_space("default").parameters]
    assert "lr[sgd,nesterov]" in keys and "momentum" in keys
    assert len(set(keys)) == len(keys)


def test_a_key_does_not_depend_on_the_order_of_its_conditions():
    when = {"optimizer": ("sgd",), "activation": ("relu", "gelu")}
    pair = [
        Parameter(name="lr", low=0.1, high=0.2, when=w) for w in (when, {"optimizer": ("adam",)})
    ]
    parents = [Parameter(name="activation", choices=("relu", "gelu"))]
    parents += [Parameter(name="optimizer", choices=("sgd", "adam"))]
    keys = [p.key for p in Space(name="mine", parameters=(*parents, *pair)).parameters]
    assert keys[2:] == ["lr[activation=relu,gelu;optimizer=sgd]", "lr[adam]"]


def test_the_example_file_reads_as_it_is_written():
    space = load_space(EXAMPLE)
    assert space.name == "example"
    assert [p.low for p in space.parameters if p.name == "lr"] == [0.001, 0.0001]
    assert space.parameters[4].when == {"optimizer": ("sgd",)}
    assert space.points[0]["lr"] == 0.01 and space.fixed == {"schedule": "cosine"}


def test_yaml_numbers_words_and_names_mean_what_the_field_means(tmp_path):
    text = """
    parameters:
      lr: {choices: [1e-3, "0.01", 1]}
      norm: {choices: [none, batch]}
      batch_size: {low: 64, high: 256, step: 64}
    """
    space = load_text(tmp_path, text)
    assert space.name == "mine"
    assert space.parameters[0].choices == (0.001, 0.01, 1.0)
    assert space.parameters[1].choices == ("none", "batch")
    assert {v["batch_size"] for v in sample(space, 50)} == {64, 128, 192, 256}


LR = {"low": 0.001, "high": 0.1}
SGD, ADAM = {"optimizer": ["sgd"]}, {"optimizer": ["adam"]}

# Each: the file, then what the message must contain: the key, the value, the rule or the hint.
BAD_FILES = {
    "wrong name in choices": (
        mapping(activation={"choices": ["relu", "sigmoide"]}),
        ("parameters.activation.choices[1]", "'sigmoide'", "did you mean 'sigmoid'"),
    ),
    "unknown parameter": (mapping(dropuot={}), ("parameters", "'dropuot'", "'dropout'")),
    "unknown top-level key": (
        "paramters: {lr: {choices: [0.1]}}",
        ("top level", "'paramters'", "did you mean 'parameters'"),
    ),
    "unknown key of an entry": (
        mapping(lr={"lo": 0.1, "high": 1}),
        ("parameters.lr", "'lo'", "did you mean 'low'"),
    ),
    "epochs as a parameter": (
        mapping(epochs={"choices": [10]}),
        ("parameters", "'epochs'", "`epochs`"),
    ),
    "value out of range": (
        mapping(lr=[{"when": SGD, **LR}, {"when": ADAM, "low": -1, "high": 0.1}]),
        ("parameters.lr[1].low", "-1.0", "(0, 10]"),
    ),
    "log from zero": (
        mapping(weight_decay={"low": 0, "high": 0.1, "log": "true"}),
        ("parameters.weight_decay.low", "0.0", "above 0"),
    ),
    "high below low": (
        mapping(lr={"low": 0.1, "high": 0.01}),
        ("parameters.lr.high", "0.01", "above low"),
    ),
    "infinite bound": (mapping(lr={"low": 0.1, "high": "inf"}), ("parameters.lr.high", "inf")),
    "high missing": (mapping(lr={"low": 0.1}), ("parameters.lr.high", "None", "not set")),
    "range and choices": (
        mapping(lr={"choices": [0.1], "low": 0.1}),
        ("parameters.lr.choices", "0.1", "beside"),
    ),
    "a name with a range": (
        mapping(norm={"low": 1, "high": 2}),
        ("parameters.norm.choices", "None", "list its choices"),
    ),
    "no choices": (mapping(lr={"choices": []}), ("parameters.lr.choices", "()", "one or more")),
    "choices not a list": (
        mapping(norm={"choices": "batch"}),
        ("parameters.norm.choices", "'batch'", "not a list"),
    ),
    "the same choice twice": (
        "parameters: {lr: {choices: [0.001, 1e-3]}}",
        ("parameters.lr.choices[1]", "0.001", "twice"),
    ),
    "boolean for a number": (
        "parameters: {lr: {choices: [yes]}}",
        ("parameters.lr.choices[0]", "'yes'", "not a number"),
    ),
    "boolean for a name": (
        "parameters: {norm: {choices: [no]}}",
        ("parameters.norm.choices[0]", "'no'", "did you mean 'none'"),
    ),
    "null for a name": (
        "parameters: {norm: {choices: [null]}}",
        ("parameters.norm.choices[0]", "'null'", "none, batch, group"),
    ),
    "nothing for a number": (
        "parameters: {lr: {low: , high: 0.1}}",
        ("parameters.lr.low", "''", "not a number"),
    ),
    "fraction for a whole number": (
        "parameters: {batch_size: {choices: [64.5]}}",
        ("parameters.batch_size.choices[0]", "'64.5'", "whole number"),
    ),
    "log neither true nor false": (
        mapping(lr={**LR, "log": "ture"}),
        ("parameters.lr.log", "'ture'", "true or false"),
    ),
    "step of a real number": (mapping(lr={**LR, "step": 1}), ("parameters.lr.step", "1", "whole")),
    "step that misses high": (
        mapping(batch_size={"low": 64, "high": 256, "step": 100}),
        ("parameters.batch_size.step", "100", "192"),
    ),
    "condition on an unknown name": (
        mapping(lr={**LR, "when": {"optimiser": ["sgd"]}}),
        ("parameters.lr.when", "'optimiser'", "did you mean 'optimizer'"),
    ),
    "condition on a wrong value": (
        mapping(lr={**LR, "when": {"optimizer": ["sdg"]}}),
        ("parameters.lr.when.optimizer", "'sdg'", "did you mean 'sgd'"),
    ),
    "condition on a value not taken": (
        mapping(lr={**LR, "when": {"optimizer": "adagrad"}}),
        ("parameters.lr.when.optimizer", "'adagrad'", "sgd, adam"),
    ),
    "condition on a later parameter": (
        mapping(lr={**LR, "when": {"norm": "batch"}}, norm={"choices": ["batch"]}),
        ("parameters.lr.when", "'norm'", "activation, optimizer"),
    ),
    "condition on a range": (
        mapping(lr=LR, dropout={"low": 0, "high": 0.5, "when": {"lr": 0.01}}),
        ("parameters.dropout.when.lr", "0.01", "range"),
    ),
    "overlapping conditions": (
        mapping(lr=[{"when": SGD, **LR}, {"when": {"activation": ["relu"]}, **LR}]),
        ("parameters.lr[1].when", "relu", "parameters.lr[0]"),
    ),
    "empty list of entries": (mapping(lr=[]), ("parameters.lr", "[]", "empty")),
    "momentum where there is none": (
        mapping(momentum={"low": 0.8, "high": 0.9}),
        ("parameters.momentum", "'adam'", "has no momentum"),
    ),
    "momentum conditioned on adam": (
        mapping(momentum={"low": 0.8, "high": 0.9, "when": ADAM}),
        ("parameters.momentum", "'adam'", "has no momentum"),
    ),
    "fixed momentum where there is none": (
        mapping()[:-1] + ', "fixed": {"momentum": 0.9}}',
        ("fixed.momentum", "'adam'", "has no momentum"),
    ),
    "fixed and varied": (
        mapping()[:-1] + ', "fixed": {"optimizer": "sgd"}}',
        ("fixed.optimizer", "'sgd'", "varies"),
    ),
    "fixed wrong": (
        mapping()[:-1] + ', "fixed": {"schedule": "cosin"}}',
        ("fixed.schedule", "'cosin'", "did you mean 'cosine'"),
    ),
    "point out of range": (
        mapping(lr=LR)[:-1] + ', "points": [{"lr": 0.01}, {"lr": 0.5}]}',
        ("points[1].lr", "0.5", "0.001 to 0.1"),
    ),
    "point with a wrong name": (
        mapping()[:-1] + ', "points": [{"activation": "gleu"}]}',
        ("points[0].activation", "'gleu'", "did you mean 'gelu'"),
    ),
    "point with momentum for adam": (
        mapping()[:-1] + ', "points": [{"optimizer": "adam", "momentum": 0.9}]}',
        ("points[0].momentum", "0.9", "adam"),
    ),
    "point beside the space": (
        mapping()[:-1] + ', "points": [{"dropout": 0.1}]}',
        ("points[0].dropout", "0.1", "not varied"),
    ),
    "point against fixed": (
        mapping()[:-1] + ', "fixed": {"norm": "batch"}, "points": [{"norm": "none"}]}',
        ("points[0].norm", "'none'", "fixed.norm"),
    ),
    "point without its condition": (
        mapping(lr={**LR, "when": SGD})[:-1] + ', "points": [{"lr": 0.01}]}',
        ("points[0].lr", "0.01", "when optimizer is sgd"),
    ),
    "points not a list": (mapping()[:-1] + ', "points": {"lr": 1}}', ("points", "not a list")),
    "no parameters": ("name: mine", ("parameters", "{}", "nothing to search")),
    "blank name": (mapping()[:-1] + ', "name": " "}', ("name", "' '", "empty")),
    "not a mapping": ("- relu", ("top level", "['relu']", "not a mapping")),
    "empty file": ("# nothing", ("top level", "''", "empty")),
    "two documents": (f"{mapping()}\n---\n{mapping()}", ("top level", "second document")),
    "duplicate key": (
        "parameters:\n  lr: {choices: [0.1]}\n  lr: {choices: [0.2]}",
        ("line 3", "'lr'", "twice"),
    ),
    "python object": (
        "parameters: !!python/object/apply:os.system ['exit 3']",
        ("line 1", "python/object/apply:os.system", "tag"),
    ),
    "alias": ("a: &x [relu]\nb: *x", ("line 1", "'x'", "alias")),
    "bomb of brackets": ("[" * 60_000, ("line 1", "nesting", "8")),
    "list as a key": ("parameters: {[a]: b}", ("line 1", "['a']", "key of a mapping")),
    "broken syntax": ("parameters:\n  lr: {choices: [0.1}", ("line 2", "not valid YAML")),
    "control character": ("name: a\0b", ("text", "not valid YAML")),
    "impossible escape": ('name: "\\U00110000"', ("text", "not valid YAML")),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_with_its_key_value_and_rule(case, tmp_path):
    text, expected = BAD_FILES[case]
    with pytest.raises(InputError) as caught:
        load_text(tmp_path, text)
    assert caught.value.field.startswith(f"{tmp_path / 'mine.yaml'}: {expected[0]}")
    for part in expected:
        assert part in str(caught.value)


def test_a_name_that_does_not_exist_offers_the_nearest():
    with pytest.raises(InputError, match="space: 'study-grid'.*did you mean 'study_grid'"):
        load_space("study-grid")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match="space: .*gone.yaml.*No such file"):
        load_space(str(tmp_path / "gone.yaml"))


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(InputError, match="is larger than 65536 bytes"):
        load_text(tmp_path, "#" * 70_000)


def test_a_rule_broken_in_code_names_the_space():
    rate = Parameter(name="lr", low=0.1, high=0.2)
    with pytest.raises(InputError, match=r"space 'mine': parameters.lr\[1\].when"):
        Space(name="mine", parameters=(rate, rate))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"parameters": []}, "'name' is missing"),
        ({"name": "a", "parameters": [{"name": "lr", "hihg": 1}]}, "did you mean 'high'"),
        (
            {"name": "a", "parameters": [{"name": "lr", "low": 2, "high": 1}]},
            "space 'a': parameters.lr.high",
        ),
    ],
)
def test_a_stored_space_is_checked_when_read_back(broken, message):
    with pytest.raises(InputError, match=message):
        Space.from_dict(broken)
