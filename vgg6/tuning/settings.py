"""Settings: what a search was asked to do, checked before anything starts."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from vgg6.common.checks import InputError, Range, check_integer, check_number, read_integer
from vgg6.common.fields import check_fields, described, metadata
from vgg6.common.machine import DEVICES, KERNELS, PRECISIONS
from vgg6.common.quantities import read_bytes, read_count, read_duration, read_latency
from vgg6.config import MIRRORINGS
from vgg6.data import SPLIT_SEED, Reading
from vgg6.footprint.limits import KINDS, Limit
from vgg6.metric import ACCURACY, METRIC_NAMES, ByMetric
from vgg6.run_record import IMAGE_SIZES, check_image_size

SEARCHERS = ("gp", "optuna", "random", "grid")
FOLLOWING = ("gp", "optuna")  # those that choose a trial by what earlier ones scored
SCHEDULERS = ("asha", "asha-stop", "hyperband", "median", "none")
MPS_MODES = ("auto", "off")
WANDB_MODES = ("online", "offline", "disabled")
AUTO_TRIALS = Range(8, 64)  # the trials that ``trials=auto`` may choose
# What ``trials=auto`` fills, and never exceeds. Digits are for a first look.
AUTO_SECONDS, AUTO_SECONDS_ELSE = {"digits": 240.0}, 3600.0
DEFAULT_TRIALS = 64
AUTO = "auto"  # of trials: as many as there is time for; of gpus_per_trial: measured
TRIALS, COUNT, SEED = Range(1, 1_000_000), Range(1, 100_000), Range(0, 2**32 - 1)
POSITIVE_INTEGER = Range(1, 10**12)
POSITIVE_SECONDS = Range(0, 1e9, low_open=True)
_ADDRESS = re.compile(r"(?:ray://)?(?:[\w.-]+|\[[\da-fA-F:]+\])(?::(\d{1,5}))?", re.ASCII)

# The groups that fields stand in, for people.
SEARCHED = "what is searched"
STOPPED = "early stopping"
PLACE = "where it runs"
RESULTS = "data and results"


def check_name(key: str, value: str) -> None:
    """Raise InputError unless ``value`` can name a search, and so a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        rule = "must be 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise InputError(key, value, rule)


def check_address(key: str, address: str) -> None:
    """Raise InputError unless ``address`` can be that of a Ray cluster."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[1] or 1) < 2**16:
        rule = "is not local, auto, or a host[:port], with a port of 1 to 65535"
        raise InputError(key, address, rule)


def check_accelerator(key: str, kind: str) -> None:
    """Raise InputError unless ``kind`` can be Ray's name of a kind of GPU."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", kind):
        raise InputError(key, kind, "is no kind of GPU as Ray names it, such as A100 or H100")


def check_mlflow(key: str, uri: str) -> None:
    """Raise InputError where MLflow, which is optional, is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(key, uri, "needs MLflow: pip install mlflow")


def check_gpus(key: str, value: float | str) -> None:
    """A share of one GPU, or whole GPUs: Ray gives out nothing between. Or ``auto``."""
    if value == AUTO:
        return
    if isinstance(value, str):
        raise InputError(key, value, f"is neither a number nor {AUTO}")
    check_number(key, value, Range(0, 64))
    if value > 1 and value != int(value):
        rule = "must be a fraction of one GPU (up to 1) or a whole number of GPUs"
        raise InputError(key, value, rule)


def read_trials(key: str, text: str) -> int | None:
    """A number of trials, or None for ``auto``."""
    return None if text == AUTO else read_integer(key, text, TRIALS)


def read_gpus(key: str, text: str) -> float | str:
    """A number of GPUs, or ``auto`` as it is."""
    try:
        return text if text == AUTO else float(text)
    except ValueError:
        raise InputError(key, text, f"is neither a number nor {AUTO}") from None


@dataclass(frozen=True, kw_only=True)
class Settings(ByMetric):
    """What a search was asked for. None means: choose by the machine, or no limit.

    Each field says what it is, how it is checked, and how its text is read. The command line is
    made from them.

    - ``trials``: None runs as many as are expected to fit into an hour, or into four minutes of
      digits. That time is then the time budget, unless one is given.
    - ``epochs``, ``grace``: epochs of training. ``reduction``: a ratio.
    - ``max_parameters``: a count; ``max_size``: bytes; ``max_latency``: seconds.
    - ``time_budget``: seconds from the start of a session.
    - ``cpus_per_trial``: CPUs, which are the trial's threads too.
    - ``gpus_per_trial``: up to 1 a fraction of one GPU, else whole GPUs, or ``auto``: measured.
    - ``limit_train``: images. ``mlflow``: a tracking URI.

    Raises:
        InputError: a value breaks its rule; names the field.
    """

    trials: int | None = described(
        DEFAULT_TRIALS, "number of trials; auto: as many as an hour allows", TRIALS,
        read=read_trials, form="N|auto", group=SEARCHED,
    )  # fmt: skip
    epochs: int = described(30, "full length of a trial", Range(1, 10_000), group=SEARCHED)
    searcher: str = described("gp", "what proposes configurations", SEARCHERS, group=SEARCHED)
    seed: int = described(
        42, "random seed of the searcher and of every trial", SEED, group=SEARCHED
    )
    metric: str = described(
        ACCURACY.name, "score on the validation images to choose by", METRIC_NAMES, group=SEARCHED
    )  # fmt: skip
    max_parameters: int | None = described(
        None, "try only networks of at most so many parameters, such as 300k", POSITIVE_INTEGER,
        read=read_count, form="COUNT", group=SEARCHED,
    )  # fmt: skip
    max_size: int | None = described(
        None, "try only networks of at most so many bytes as an int8 ONNX file, such as 500kB",
        POSITIVE_INTEGER, read=read_bytes, form="SIZE", group=SEARCHED,
    )  # fmt: skip
    max_latency: float | None = described(
        None, "try only networks that take at most this time for one image in onnxruntime on this"
        " machine, such as 2ms", POSITIVE_SECONDS,
        read=read_latency, form="TIME", group=SEARCHED,
    )  # fmt: skip

    scheduler: str = described("asha", "what stops weak trials early", SCHEDULERS, group=STOPPED)
    grace: int = described(
        1, "epochs before a trial is first compared with others", Range(1, 10_000), group=STOPPED
    )  # fmt: skip
    reduction: float = described(
        4.0, "one trial in so many goes on past a comparison; with asha, the next one is after so"
        " many times the epochs", Range(1, 100, low_open=True),
        group=STOPPED,
    )  # fmt: skip
    time_budget: float | None = described(
        None, "end the search after this time, such as 90s, 30m or 2h", POSITIVE_SECONDS,
        read=read_duration, form="TIME", group=STOPPED,
    )  # fmt: skip
    patience: int | None = described(
        None, "end the search after so many trials without a better score", TRIALS, group=STOPPED
    )

    address: str | None = described(
        None, "Ray cluster to join, as HOST or HOST:PORT. auto: the one that runs here; local:"
        " none, start Ray for this search",
        check=check_address, form="HOST|auto|local",
        unset="a cluster that runs here, else local", group=PLACE,
    )  # fmt: skip
    cpus_per_trial: float | None = described(
        None, "CPUs and threads of a trial", Range(0, 1024, low_open=True),
        unset="as many as train fastest", group=PLACE,
    )  # fmt: skip
    gpus_per_trial: float | str | None = described(
        None, "part of a GPU, whole GPUs, or auto: measured. Parts gain speed only with NVIDIA's"
        " Multi-Process Service", check=check_gpus, read=read_gpus, form="X|auto",
        unset="0.25 where there is a GPU", group=PLACE,
    )  # fmt: skip
    mps: str = described(
        "auto", "whether a search that starts Ray itself starts the Multi-Process Service too,"
        " where trials share a GPU", MPS_MODES, group=PLACE,
    )  # fmt: skip
    accelerator_type: str | None = described(
        None, "use GPUs of this kind only, such as A100", check=check_accelerator, form="KIND",
        group=PLACE,
    )  # fmt: skip
    max_concurrent: int | None = described(
        None, "trials at once", COUNT, unset="as many as fit", group=PLACE
    )
    device: str = described("auto", "what trials compute on", DEVICES, group=PLACE)
    precision: str = described("auto", "what trials compute in", PRECISIONS, group=PLACE)
    kernels: str = described(
        KERNELS[0], "what computes bias, activation and pooling on a GPU: PyTorch, or one Triton"
        " kernel for all three, not tried on a GPU yet", KERNELS, group=PLACE,
    )  # fmt: skip

    data: str = described(
        "cifar10", "images to train on: cifar10, cifar100, svhn, fashion_mnist, mnist, digits, or a"
        " folder of your own. auto: CIFAR-10 where it can be had, else digits",
        form="NAME|DIR", group=RESULTS,
    )  # fmt: skip
    image_size: int = described(
        32, "pixels of an edge that images are resized to, a multiple of 8", IMAGE_SIZES,
        check=check_image_size, group=RESULTS,
    )  # fmt: skip
    label_column: str | None = described(
        None, "column of parquet files that holds the labels", form="NAME",
        unset="label or fine_label", group=RESULTS,
    )  # fmt: skip
    flip: str | None = described(
        None, "whether training images are mirrored", MIRRORINGS, unset="by the images",
        group=RESULTS,
    )  # fmt: skip
    skip_damaged: bool = described(False, "leave out pictures that cannot be read", group=RESULTS)
    limit_train: int | None = described(
        None, "train on so many images only", Range(100, 10**9), group=RESULTS
    )
    split_seed: int = described(SPLIT_SEED, "random seed of the validation split", SEED,
                                group=RESULTS)  # fmt: skip
    storage: str = described("runs", "where searches are kept", form="DIR|URI", group=RESULTS)
    name: str = field(metadata=metadata("name of the search", check=check_name, form="NAME",
                                        unset="the time", group=RESULTS))  # fmt: skip
    wandb: str | None = described(
        None, "how to log to W&B", WANDB_MODES, unset="online with a key, else offline",
        group=RESULTS,
    )  # fmt: skip
    wandb_project: str = described("tune_vgg6", "W&B project", form="NAME", group=RESULTS)
    mlflow: str | None = described(
        None, "log to MLflow too, such as sqlite:///mlflow.db", check=check_mlflow, form="URI",
        group=RESULTS,
    )  # fmt: skip
    verbose: bool = described(
        False, "let Ray's own messages through, and keep its logs", group=RESULTS
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer("grace", self.grace, Range(1, self.epochs))
        if self.gpus_per_trial == AUTO and self.device == "cpu":
            rule = "measures training on a GPU: with `device` cpu a trial can only hold a fraction"
            raise InputError("gpus_per_trial", AUTO, rule)
        no_gpu = self.gpus_per_trial == 0 or (self.device == "cpu" and self.gpus_per_trial is None)
        if self.accelerator_type is not None and no_gpu:
            rule = "names GPUs, of which these trials get none: see `gpus_per_trial`"
            raise InputError("accelerator_type", self.accelerator_type, rule)
        if self.device == "cuda" and self.gpus_per_trial == 0:
            raise InputError("gpus_per_trial", 0, "leaves the trials no GPU, and `device` is cuda")

    def budget(self, data: str) -> float | None:
        """Seconds that the search may take on the data set of that name; None: no limit.

        ``trials`` auto has one in any case, since it chooses as many as fit.
        """
        if self.time_budget is None and self.trials is None:
            return AUTO_SECONDS.get(data, AUTO_SECONDS_ELSE)
        return self.time_budget

    @property
    def limits(self) -> list[Limit]:
        """What its network may take at most."""
        asked = {kind: getattr(self, f"max_{kind}") for kind in KINDS}
        return [Limit(kind, most) for kind, most in asked.items() if most is not None]

    @property
    def reading(self) -> Reading:
        """How its images are read."""
        return Reading.of(self)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
