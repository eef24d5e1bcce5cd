"""Flags come from the fields of the settings class: a new flag is one edit."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

import pytest

from cli.flags import add_fields, read_fields
from cli.main import build_parser
from cli.parser import Parser
from cli.search import read_settings
from vgg6.common.checks import InputError, Range
from vgg6.common.fields import about, described
from vgg6.config import TrialConfig
from vgg6.tuning.settings import Settings

# A value of each setting that is not its default, as it is typed and as it is then held.
TYPED: dict[str, tuple[str, Any]] = {
    "trials": ("7", 7), "epochs": ("9", 9), "searcher": ("grid", "grid"), "seed": ("1", 1),
    "scheduler": ("none", "none"), "grace": ("2", 2), "reduction": ("2.5", 2.5),
    "time_budget": ("1.5m", 90.0), "patience": ("5", 5), "address": ("head:1", "head:1"),
    "cpus_per_trial": ("0.5", 0.5), "gpus_per_trial": ("auto", "auto"),
    "accelerator_type": ("T4", "T4"), "max_concurrent": ("3", 3), "device": ("cuda", "cuda"),
    "precision": ("fp32", "fp32"), "kernels": ("triton", "triton"),
    "data": ("digits", "digits"), "limit_train": ("200", 200),
    "split_seed": ("0", 0), "storage": ("else", "else"), "name": ("mine", "mine"),
    "wandb": ("offline", "offline"), "wandb_project": ("p", "p"),
    "mlflow": ("sqlite:///x.db", "sqlite:///x.db"),
    "max_parameters": ("300k", 300_000), "max_size": ("1.5MB", 1_500_000),
    "max_latency": ("2ms", 0.002),
    "image_size": ("64", 64), "label_column": ("kind", "kind"), "flip": ("none", "none"),
    "metric": ("val_loss", "val_loss"), "mps": ("off", "off"),
}  # fmt: skip


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def searched(*words: str) -> Settings:
    return read_settings(build_parser().parse_args(["search", *words]))


def test_every_setting_is_a_flag_that_sets_it_and_nothing_else() -> None:
    assert set(TYPED) == {f.name for f in fields(Settings)} - {"verbose", "skip_damaged"}
    plain = searched("--name", "mine").to_dict()
    for name, (text, value) in TYPED.items():
        got = searched("--name", "mine", flag(name), text).to_dict()
        assert got[name] == value and type(got[name]) is type(value)
        assert got == plain | {name: value}
    assert searched("--verbose").verbose and not searched().verbose
    assert searched("--skip-damaged").skip_damaged and not searched().skip_damaged
    assert searched("--trials", "auto").trials is None


def test_flags_that_are_not_typed_leave_the_defaults_of_the_class() -> None:
    got = searched("--name", "mine")
    assert got == Settings(name="mine")
    assert searched().name.startswith("search-")


@pytest.mark.parametrize(("command", "cls"), [("search", Settings), ("train", TrialConfig)])
def test_the_help_says_of_every_field_what_it_is_and_its_default(
    command: str, cls: type, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    text = " ".join(shown.split())
    for field in fields(cls):
        at = text.index(f" {flag(field.name)} ")
        said = text[at : text.index(" --", at + 4) if " --" in text[at + 4 :] else None]
        rule = about(field)
        assert rule.help in said
        if isinstance(rule.allowed, tuple):
            assert all(choice in said for choice in rule.allowed)
        elif cls is TrialConfig:
            assert rule.allowed is not None and f": {rule.allowed.words} (default" in said
        if field.default not in (MISSING, None) and not isinstance(field.default, bool):
            assert (
                f"(default: {field.default:g})" in said
                if isinstance(field.default, float)
                else f"(default: {field.default})" in said
            )


def test_a_new_field_is_a_flag_with_its_help_rule_and_default() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wider(Settings):
        warm_up: float = described(0.5, "share of warm-up", Range(0, 1), group="early stopping")

    parser = Parser(prog="x")
    add_fields(parser, Wider)
    assert "share of warm-up (default: 0.5)" in " ".join(parser.format_help().split())
    args, _ = parser.parse_known_args(["--warm-up", "0.25"])
    assert Wider(name="x", **read_fields(args, Wider)).warm_up == 0.25
    args, _ = parser.parse_known_args([])
    assert Wider(name="x", **read_fields(args, Wider)).warm_up == 0.5
    args, _ = parser.parse_known_args(["--warm-up", "2"])
    with pytest.raises(InputError, match="warm_up: 2.0 is not in"):
        Wider(name="x", **read_fields(args, Wider))


def test_train_and_search_describe_the_flags_they_share_alike() -> None:
    commands = build_parser().subcommands()
    helps = [{a.dest: a.help for a in commands[c]._actions} for c in ("search", "train")]
    for name in (
        "data",
        "image_size",
        "skip_damaged",
        "limit_train",
        "split_seed",
        "device",
        "precision",
    ):
        assert helps[0][name] == helps[1][name]


def test_an_error_spells_a_field_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    from tune_vgg6 import main

    for typed in ("--max-concurrent", "--max_concurrent"):
        assert main(["search", typed, "0"]) == 2
        assert capsys.readouterr().err == f"error: {typed}: 0 is not in [1, 100000]\n"
    # A rule names another field as its flag.
    assert main(["search", "--device", "cuda", "--gpus-per-trial", "0"]) == 2
    assert "and --device is cuda" in capsys.readouterr().err


def test_an_error_quotes_the_words_that_main_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    from tune_vgg6 import main

    assert main(["search", "--name"]) == 2
    assert "'search --name' cannot be read" in capsys.readouterr().err
