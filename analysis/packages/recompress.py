"""A package's compression once more, and what two networks in ONNX have in common."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from torch import Tensor

from analysis.packages.compress import Compressed, made_smaller
from analysis.packages.compression_plan import INT8, PRUNE, Plan
from analysis.packages.package import Package
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.network import Network


def compressed_again(
    package: Package, weights: Mapping[str, Tensor], data: TrialData, runtime: Runtime
) -> Compressed:
    """What the compression that a package records makes of ``weights``, as training left them.

    Raises:
        NonFiniteLoss: the training after pruning diverged.
    """
    assert package.compression is not None
    pruned = package.compression["prune"]
    methods = [PRUNE] * bool(pruned) + [INT8] * bool(package.compression["int8"])
    settings = {k: pruned[k] for k in ("sparsity", "epochs")} if pruned else {}
    mean, std = package.data["mean"], package.data["std"]
    network = Network(package.config, weights, mean, std, runtime)
    return made_smaller(network, data, package.data, Plan(methods=methods, **settings))


def learnt(content: bytes) -> dict[str, Tensor]:
    """All tensors that a network in ONNX holds, by name."""
    graph = onnx.load_from_string(content).graph
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    return {f"model.onnx: {k}": torch.from_numpy(a.copy()) for k, a in arrays.items()}
