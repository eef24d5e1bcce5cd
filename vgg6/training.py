"""fit(): one training run as a generator, one EpochMetrics an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vgg6.augment import epoch_batches
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.evaluation import evaluate
from vgg6.gradients import Gradients, Replayed
from vgg6.hardware.runtime import Runtime, resident
from vgg6.metric import ACCURACY, Metric
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.optim import build_optimizer, lr_factor, set_lr
from vgg6.run_record import EpochMetrics
from vgg6.sharpness import Sharpened, is_sharpened
from vgg6.task import STUDY, Task


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite; the weights are those of before that step."""

    def __init__(self, epoch: int, step: int, part: str, loss: float) -> None:
        super().__init__(f"{part} loss is {loss} at epoch {epoch}, step {step}: the run diverged")
        self.epoch, self.step = epoch, step


def is_mirrored(config: TrialConfig, images: bool) -> bool:
    """Whether a run mirrors its training images. ``images``: whether these may be."""
    return config.flip == "horizontal" or (images and config.flip != "none")


class TrainState:
    """All that a run carries from one epoch to the next. Saving it is a checkpoint.

    Random numbers are no part of it: each epoch draws its own from (seed, epoch, purpose).

    Args:
        start: begins with this network's weights and widths, and not with fresh ones.
        task: what a fresh network is made for.
        metric: its best epoch is chosen by.
    """

    def __init__(
        self,
        config: TrialConfig,
        runtime: Runtime,
        start: Network | None = None,
        task: Task = STUDY,
        metric: Metric = ACCURACY,
    ) -> None:
        runtime.apply()
        torch.manual_seed(derive_seed(config.seed, 0, "weights"))
        self.config, self.runtime, self.metric = config, runtime, metric
        model = VGG6(config, task) if start is None else start.module()
        self.model = runtime.place(model)
        self.optimizer = build_optimizer(self.model.parameters(), config)
        self.epoch = 0
        self.best = Best()


@dataclass
class Best:
    """The epoch with the best score so far by the run's metric, the first of equals."""

    epoch: int = 0
    val_acc: float = 0.0
    weights: dict[str, Tensor] = field(default_factory=dict)
    score: float = math.nan


def fit(
    state: TrainState, data: TrialData, *, stop_after: int | None = None
) -> Iterator[EpochMetrics]:
    """Train from ``state`` to the configuration's full length, yielding after each epoch.

    Between two epochs ``state`` is whole and may be saved. ``stop_after`` ends the run early
    without changing its learning-rate schedule.

    Raises:
        NonFiniteLoss: before the optimizer step that would have used the loss.
    """
    config, runtime, model, optimizer = state.config, state.runtime, state.model, state.optimizer
    parts = resident(data, runtime.device)
    n = len(parts.train_labels)
    steps = math.ceil(n / config.batch_size)
    on_cpu = runtime.device == "cpu"
    last = config.epochs if stop_after is None else min(config.epochs, stop_after)
    gradients = Gradients(model, parts.normalize, runtime, config.label_smoothing)
    plain = gradients if on_cpu else Replayed(gradients, config.batch_size)
    sharpened = Sharpened(plain, gradients, config.sam)
    while state.epoch < last:
        started, epoch = time.perf_counter(), state.epoch + 1
        runtime.apply()
        torch.manual_seed(derive_seed(config.seed, epoch, "dropout"))
        model.train()
        gradients.reset()
        compute = sharpened if is_sharpened(config, epoch) else plain
        batches = epoch_batches(
            parts.train_images, parts.train_labels, config.batch_size,
            seed=config.seed, epoch=epoch,
            flip=is_mirrored(config, parts.flip), alternate=config.flip == "alternating",
            cutout=config.cutout, colour=parts.normalize.colour,
        )  # fmt: skip
        for step, (images, labels) in enumerate(batches):
            lr = config.lr * lr_factor(
                config.schedule, steps * state.epoch + step, steps * config.epochs
            )
            set_lr(optimizer, lr)
            compute(images, labels)
            if on_cpu and not gradients.finite:
                raise NonFiniteLoss(epoch, step, "training", gradients.loss.item())
            optimizer.step()
        train_loss, train_acc = (gradients.totals / n).tolist()
        if not gradients.finite:
            raise NonFiniteLoss(epoch, steps, "training", train_loss)
        val = evaluate(model, parts.val_images, parts.val_labels, parts.normalize, runtime)
        if not math.isfinite(val.loss):
            raise NonFiniteLoss(epoch, steps, "validation", val.loss)
        state.epoch = epoch
        found = EpochMetrics(
            epoch=epoch, train_loss=train_loss, train_acc=train_acc, val_loss=val.loss,
            val_acc=val.accuracy, best_val_acc=val.accuracy, best_epoch=epoch, lr=lr, seconds=0.0,
            val_balanced_acc=val.balanced_accuracy,
        )  # fmt: skip
        score = state.metric.of(found)
        if not state.best.weights or state.metric.is_better(score, than=state.best.score):
            weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            state.best = Best(epoch, val.accuracy, weights, score)
        best = state.best
        found.best_val_acc, found.best_epoch = best.val_acc, best.epoch
        if not state.metric.is_accuracy:
            found.best_score = best.score
        found.seconds = time.perf_counter() - started
        yield found


def train(
    config: TrialConfig,
    data: TrialData,
    runtime: Runtime | None = None,
    *,
    start: Network | None = None,
    on_epoch: Callable[[EpochMetrics], object] | None = None,
    metric: Metric = ACCURACY,
) -> Network:
    """Train to the configuration's full length. Returns the network of the best epoch.

    Args:
        runtime: default, what this machine profits from.
        start: a network to go on with, such as a pruned one; its hyperparameters are not used.
        on_epoch: is told each epoch's metrics.
        metric: the best epoch is chosen by.

    Raises:
        NonFiniteLoss: the run diverged.
    """
    state = TrainState(config, runtime or Runtime.resolve(), start, data.task, metric)
    for metrics in fit(state, data):
        if on_epoch is not None:
            on_epoch(metrics)
    weights = {name: tensor.cpu() for name, tensor in state.best.weights.items()}
    return Network(config, weights, data.mean, data.std, state.runtime)
