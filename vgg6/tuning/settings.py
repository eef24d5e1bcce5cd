"""Settings: what a search was asked to do, checked before anything starts."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from vgg6.common.checks import InputError, Range, check_choice, check_integer, check_number
from vgg6.data import SPLIT_SEED

SEARCHERS = ("forest", "optuna", "random", "grid")
FOLLOWING = ("forest", "optuna")  # those that choose a trial by what earlier ones scored
SCHEDULERS = ("asha", "hyperband", "median", "none")
WANDB_MODES = ("online", "offline", "disabled")
AUTO_TRIALS = Range(8, 64)  # the trials that ``trials=auto`` may choose
DEFAULT_TRIALS = 64
_TEXTS_OR_NONE = ("address", "wandb", "mlflow", "accelerator_type")
_ADDRESS = re.compile(r"(?:ray://)?(?:[\w.-]+|\[[\da-fA-F:]+\])(?::(\d{1,5}))?", re.ASCII)
AUTO = "auto"  # of gpus_per_trial: measured


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``search`` was asked for. ``None`` means: choose by the machine, or no limit.

    ``gpus_per_trial`` is a fraction of a GPU, a whole number of them, or ``auto``: measured.

    ``trials=None`` takes as many as are expected to fit into an hour (four minutes of digits), and
    makes that the time budget if none is given; ``time_budget`` is in seconds; ``mlflow`` is a
    tracking URI.

    Raises:
        InputError: a value breaks its rule; names the field.
    """

    name: str
    storage: str = "runs"
    trials: int | None = DEFAULT_TRIALS
    epochs: int = 30
    searcher: str = "forest"
    scheduler: str = "asha"
    grace: int = 1
    reduction: float = 4.0
    cpus_per_trial: float | None = None
    gpus_per_trial: float | str | None = None
    accelerator_type: str | None = None
    max_concurrent: int | None = None
    address: str | None = None
    seed: int = 42
    split_seed: int = SPLIT_SEED
    time_budget: float | None = None
    patience: int | None = None
    wandb: str | None = None
    wandb_project: str = "tune_vgg6"
    mlflow: str | None = None
    data: str = "cifar10"
    limit_train: int | None = None
    device: str = "auto"
    precision: str = "auto"
    verbose: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):  # a run folder's settings may be of any type
            given = getattr(self, field.name)
            texts = isinstance(field.default, str) or field.name in ("name", *_TEXTS_OR_NONE)
            if texts and not (isinstance(given, str) or (given is None and field.default is None)):
                raise InputError(field.name, given, "is not text")
        if not isinstance(self.verbose, bool):
            raise InputError("verbose", self.verbose, "is not true or false")
        if self.address is not None:
            check_address("address", self.address)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            rule = "must be 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
            raise InputError("name", self.name, rule)
        check_choice("searcher", self.searcher, SEARCHERS)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_choice("precision", self.precision, ("auto", "bf16", "fp32"))
        if self.mlflow is not None and importlib.util.find_spec("mlflow") is None:
            raise InputError("mlflow", self.mlflow, "needs MLflow: pip install mlflow")
        if self.wandb is not None:
            check_choice("wandb", self.wandb, WANDB_MODES)
        whole = {
            "trials": (self.trials, Range(1, 1_000_000)),
            "epochs": (self.epochs, Range(1, 10_000)),
            "grace": (self.grace, Range(1, self.epochs)),
            "max_concurrent": (self.max_concurrent, Range(1, 100_000)),
            "seed": (self.seed, Range(0, 2**32 - 1)),
            "split_seed": (self.split_seed, Range(0, 2**32 - 1)),
            "patience": (self.patience, Range(1, 1_000_000)),
            "limit_train": (self.limit_train, Range(100, 10**9)),
        }
        for key, (number, allowed) in whole.items():
            if number is not None or key in ("epochs", "grace", "seed", "split_seed"):
                check_integer(key, number, allowed)
        check_number("reduction", self.reduction, Range(1, 100, low_open=True))
        if self.cpus_per_trial is not None:
            check_number("cpus_per_trial", self.cpus_per_trial, Range(0, 1024, low_open=True))
        if self.time_budget is not None:
            check_number("time_budget", self.time_budget, Range(0, 1e9, low_open=True))
        if self.gpus_per_trial is not None:
            check_gpus(self.gpus_per_trial)
        if self.gpus_per_trial == AUTO and self.device == "cpu":
            rule = "measures training on a GPU: trials on the CPU can only hold a fraction"
            raise InputError("gpus_per_trial", AUTO, rule)
        if self.accelerator_type is not None:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", self.accelerator_type):
                rule = "is no kind of GPU as Ray names it, such as A100 or H100"
                raise InputError("accelerator_type", self.accelerator_type, rule)
            if self.gpus_per_trial == 0 or (self.device == "cpu" and self.gpus_per_trial is None):
                rule = "names GPUs, of which these trials get none: see `gpus_per_trial`"
                raise InputError("accelerator_type", self.accelerator_type, rule)
        if self.device == "cuda" and self.gpus_per_trial == 0:
            raise InputError("gpus_per_trial", 0, "leaves the trials no GPU, and `device` is cuda")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_address(key: str, address: str) -> None:
    """Raise InputError unless ``address`` can be that of a Ray cluster."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[1] or 1) < 2**16:
        rule = "is not local, auto, or a host[:port], with a port of 1 to 65535"
        raise InputError(key, address, rule)


def check_gpus(value: float | str) -> None:
    """A share of one GPU, or whole GPUs: Ray gives out nothing between. Or ``auto``."""
    if value == AUTO:
        return
    if isinstance(value, str):
        raise InputError("gpus_per_trial", value, f"is neither a number nor {AUTO}")
    check_number("gpus_per_trial", value, Range(0, 64))
    if value > 1 and value != int(value):
        rule = "must be a fraction of one GPU (up to 1) or a whole number of GPUs"
        raise InputError("gpus_per_trial", value, rule)
