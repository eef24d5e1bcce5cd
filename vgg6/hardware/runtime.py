"""How a run uses the machine: device, precision, threads, kernels; the data it keeps resident."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vgg6.augment import Normalizer
from vgg6.common.checks import InputError, check_choice, check_integer
from vgg6.common.machine import DEVICES, KERNELS, PRECISIONS, THREADS, usable_cpus
from vgg6.data import TrialData
from vgg6.hardware.cpu_speed import precision_speeds
from vgg6.hardware.kept_memory import keep_freed_memory

if TYPE_CHECKING:
    from vgg6.model import VGG6


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and in what arithmetic a run computes. Equal runtimes give equal bits.

    ``threads`` counts towards reproducibility: another number sums in another order. ``kernels``:
    what computes bias, activation and pooling, ``torch`` or, on a GPU, our own in ``triton``.
    """

    device: str
    precision: str
    threads: int
    kernels: str = KERNELS[0]

    @classmethod
    def resolve(
        cls,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        kernels: str = KERNELS[0],
    ) -> Runtime:
        """Replace ``auto`` by what this machine profits from: a GPU, bf16 where it is native.

        Raises:
            InputError: a name is unknown, CUDA or Triton is asked for and missing, Triton's kernels
                are asked for on a CPU, threads is not 1 to 1024.
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
        check_kernels(kernels, device)
        return cls(device=device, precision=precision, threads=threads, kernels=kernels)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        """For people, without the threads."""
        kernels = "" if self.kernels == KERNELS[0] else f", kernels in {self.kernels.title()}"
        return f"{self.device}, {self.precision}{kernels}"

    def apply(self) -> None:
        """Set torch's threads in this process, whatever OMP_NUM_THREADS was started with. On a GPU,
        allow only convolutions that give the same bits each time; on a CPU, keep freed memory."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.device == "cuda":
            torch.backends.cudnn.deterministic = True
        else:
            keep_freed_memory()

    def place(self, model: VGG6) -> VGG6:
        """``model`` on the device, laid out for its convolutions, with the kernels of this runtime.

        Raises:
            InputError: Triton is missing.
        """
        model.to(torch.device(self.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.kernels == "triton":
            check_kernels(self.kernels, self.device)
            model.fuse()
        return model

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def check_kernels(kernels: str, device: str) -> None:
    """Raise InputError unless these kernels can be had for this device."""
    check_choice("kernels", kernels, KERNELS)
    if kernels == KERNELS[0]:
        return
    if device != "cuda":
        raise InputError("kernels", kernels, f"needs a CUDA GPU: this computes on {device}")
    if find_spec("triton") is None:
        raise InputError("kernels", kernels, "needs Triton, which comes with PyTorch for CUDA")


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
