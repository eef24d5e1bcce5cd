"""The memory of a GPU: what a run may take of it, and which errors say that it is out of it.

What needs a real GPU is skipped without one, with the reason.
"""

from __future__ import annotations

import pytest
import torch

from search_spaces import load_space
from vgg6.hardware.device_memory import prepare_gpu, ran_out, tensors_part
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.cluster import gpu_probe as probe
from vgg6.tuning.cluster.gpu_sharing import measure_shared_speeds

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_every_way_in_which_cuda_is_out_of_memory_is_known_from_a_bug() -> None:
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert ran_out(torch.cuda.OutOfMemoryError("the same by its old name"))
    assert ran_out(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"))
    assert ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublas`"))
    assert ran_out(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:  # as the end of a CUDA graph's capture does
            raise RuntimeError("CUDA error: operation failed due to a previous error in capture")
    except RuntimeError as error:
        assert ran_out(error)
    assert not ran_out(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_memory_of_tensors_leaves_room_for_cudas_own() -> None:
    assert tensors_part(1.0, 80e9) == 1.0
    assert tensors_part(0.25, 80e9) == pytest.approx(0.25 - 0.5 / 80)
    assert tensors_part(0.25, 2e9) == 0.125
    for share in (0.1, 0.25, 0.5):
        assert tensors_part(share, 16e9) * 16e9 + 0.5e9 <= share * 16e9 * 1.0001 or share == 0.1


@needs_gpu
def test_a_real_gpu_caps_a_run_at_its_share_and_is_measured() -> None:
    total = torch.cuda.mem_get_info()[1]
    prepare_gpu(0.25)
    try:
        with pytest.raises(torch.OutOfMemoryError) as error:
            torch.empty(int(0.3 * total), dtype=torch.uint8, device="cuda")
        assert ran_out(error.value)
    finally:
        prepare_gpu(1.0)
    runtime = Runtime(device="cuda", precision="bf16", threads=1)
    measured = measure_shared_speeds(runtime, probe.hungriest(load_space("default")), 45_000, 2)
    assert measured.measured[0].speed > 0 and 0 < measured.measured[0].used_gb < total / 1e9
