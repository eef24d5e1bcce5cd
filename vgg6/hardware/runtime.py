"""How a run uses the machine: device, precision, threads; and the data it keeps resident."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vgg6.augment import Normalizer
from vgg6.common.checks import InputError, check_choice, check_integer
from vgg6.common.machine import DEVICES, PRECISIONS, THREADS, usable_cpus
from vgg6.data import TrialData
from vgg6.hardware.cpu_speed import precision_speeds


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and in what arithmetic a run computes. Equal runtimes give equal bits.

    ``threads`` counts towards reproducibility: another number sums in another order.
    """

    device: str
    precision: str
    threads: int

    @classmethod
    def resolve(
        cls, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> Runtime:
        """Replace ``auto`` by what this machine profits from: a GPU, bf16 where it is native.

        Raises:
            InputError: a name is unknown, CUDA is asked for and missing, threads is not 1 to 1024.
        """
        check_choice("device", device, DEVICES)
        check_choice("precision", precision, PRECISIONS)
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("device", device, "needs a CUDA GPU, and torch sees none here")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bf16" if device == "cuda" else _cpu_precision()
        if threads is None:
            threads = usable_cpus()
        check_integer("threads", threads, THREADS)
        return cls(device=device, precision=precision, threads=threads)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def apply(self) -> None:
        """Set torch's threads in this process, whatever OMP_NUM_THREADS was started with. On a GPU,
        allow only convolutions that give the same bits each time."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.device == "cuda":
            torch.backends.cudnn.deterministic = True

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


@dataclass(frozen=True)
class ResidentData:
    """A trial's data as tensors on its device: uint8 images, int64 labels, the normaliser."""

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor
    normalize: Normalizer
    flip: bool


def resident(data: TrialData, device: str) -> ResidentData:
    """``data`` on ``device``: without a copy on the CPU, copied once a process on a GPU."""
    return _resident(_ById(data), device)


class _ById:
    """Lets the cache below go by the fingerprint and not hash 150 MB of images."""

    def __init__(self, data: TrialData) -> None:
        self.data = data
        self.key = (data.fingerprint, data.mean, data.std, data.flip)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.key == other.key


@lru_cache(maxsize=1)
def _resident(key: _ById, device: str) -> ResidentData:
    data, target = key.data, torch.device(device)
    with warnings.catch_warnings():
        # Shared memory is read-only, and torch warns of it: nothing here writes to the images.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = (data.train.images, data.train.labels, data.val.images, data.val.labels)
        train_x, train_y, val_x, val_y = (torch.from_numpy(a).to(target) for a in arrays)
    normalize = Normalizer(data.mean, data.std, target)
    return ResidentData(train_x, train_y, val_x, val_y, normalize, data.flip)


def _cpu_precision() -> str:
    """bf16 where the CPU has it; fp32 where nothing computes bf16 fast; else the faster one,
    measured: emulated bf16 can be either."""
    if native_bf16():
        return "bf16"
    if not emulates_bf16():
        return "fp32"
    speeds = precision_speeds()
    return max(speeds, key=lambda name: speeds[name])


def native_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def emulates_bf16() -> bool:
    """Whether oneDNN has kernels for bf16 on this CPU: on x86 it needs AVX-512. Without them a
    step in bf16 takes over ten times as long as one in fp32, and measuring it half a minute."""
    if not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
