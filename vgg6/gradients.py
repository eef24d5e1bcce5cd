"""The gradients of one batch; on a GPU captured once a run as a CUDA graph and replayed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.hardware.runtime import Runtime


class Gradients:
    """Leaves a batch's gradients in the model, and adds up what an epoch's metrics come from.

    ``totals``: float64 (2,), sums over images of the loss and of the correct answers. ``finite``: a
    bool, whether every loss was. ``loss``: the last batch's. All stay on the device: nothing here
    waits for it. Call ``reset`` before each epoch.
    """

    def __init__(
        self, model: nn.Module, normalize: Normalizer, runtime: Runtime, label_smoothing: float
    ) -> None:
        self.model, self.normalize, self.runtime = model, normalize, runtime
        self.label_smoothing = label_smoothing
        self.totals = torch.zeros(2, dtype=torch.float64, device=runtime.device)
        self.finite = torch.ones((), dtype=torch.bool, device=runtime.device)
        self.loss = torch.zeros((), device=runtime.device)

    def reset(self) -> None:
        self.totals.zero_()
        self.finite.fill_(True)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Take uint8 images (B, S, S, 3) and labels (B,), both on the device."""
        with self.runtime.autocast():
            logits = self.model(self.normalize(images))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        self.loss.copy_(loss.detach())
        self.finite.logical_and_(self.loss.isfinite())
        correct = (logits.detach().argmax(1) == labels).sum()
        self.totals.add_(torch.stack((self.loss.double() * len(labels), correct.double())))
        if self.runtime.device != "cpu":
            hold_weights(self.model, ~self.finite)


def hold_weights(model: nn.Module, diverged: Tensor) -> None:
    """Zero all gradients where ``diverged`` (a bool on the device) is true.

    A GPU learns of a non-finite loss without telling the host, which reads the flag once an epoch:
    until then no non-finite gradient may reach a weight.
    """
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.masked_fill_(diverged, 0.0)


class Replayed:
    """``Gradients`` on a GPU as one launch instead of some hundred: a CUDA graph.

    The first batches run as they are, on a stream of their own as PyTorch's notes on CUDA graphs
    ask; the next is captured, once a run, and replayed from then on. A batch of another size, an
    epoch's last, runs as it is. Dropout draws anew at each replay: the graph takes the generator's
    seed and offset as they are then.
    """

    WARM_UP = 3

    def __init__(self, gradients: Gradients, batch_size: int) -> None:
        self.gradients, self.batch_size, self.seen = gradients, batch_size, 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.results: list[tuple[nn.Parameter, Tensor | None]] = []

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        if len(labels) != self.batch_size or self.seen < self.WARM_UP:
            self.seen += len(labels) == self.batch_size
            self._aside(images, labels)
            return
        if self.graph is None:
            self._capture(images, labels)
        assert self.graph is not None and self.inputs is not None
        for kept, new in zip(self.inputs, (images, labels), strict=True):
            kept.copy_(new)
        self.graph.replay()
        for parameter, gradient in self.results:  # a batch of another size has put its own there
            parameter.grad = gradient

    def _aside(self, images: Tensor, labels: Tensor) -> None:
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self.gradients(images, labels)
        current.wait_stream(stream)

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        self.inputs = (images.clone(), labels.clone())
        self.gradients.model.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.gradients(*self.inputs)
        self.results = [(p, p.grad) for p in self.gradients.model.parameters()]
