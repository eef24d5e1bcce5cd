"""A run's part of a GPU's memory, and how it is known that there was too little."""

from __future__ import annotations

import re

import torch

# What a process takes of the device before its first tensor: CUDA's context and kernels. PyTorch's
# cap does not count it.
CONTEXT_BYTES = 500e6
# How CUDA and its libraries say it where PyTorch's allocator was not asked.
_NO_MEMORY = re.compile(
    "CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
)


def prepare_gpu(share: float) -> None:
    """Keep this process to its share of the memory, and drop what the last run in it left."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(tensors_part(share, total))


def tensors_part(share: float, total: float) -> float:
    """The part of ``total`` bytes of device memory that tensors may take in a process that has
    ``share`` of the device: what CUDA's own context leaves of it, at least half."""
    return 1.0 if share >= 1 else max(share / 2, share - CONTEXT_BYTES / total)


def ran_out(error: BaseException) -> bool:
    """Whether an error of training means that device memory ran out: it, or one that it was raised
    in the handling of, as when the capture of a CUDA graph is broken off."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, torch.OutOfMemoryError) or _NO_MEMORY.search(str(link)):
            return True
        link = link.__cause__ or link.__context__
    return False
