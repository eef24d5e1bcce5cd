"""Whether trials train as fast as the measurement promised by which their threads were chosen."""

from __future__ import annotations

from statistics import median

from vgg6.common.machine import usable_cpus
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.hardware.cpu_speed import contradicted
from vgg6.tuning.run.history import History
from vgg6.tuning.session.plan import Plan

ENOUGH = 4  # epochs


def check_measured_threads(plan: Plan, history: History) -> None:
    """After a session, forget a measurement that its trials contradict: the next search measures
    again. This one goes on with the threads that it has.

    Trials on any number of threads tell, be it chosen or asked for, where they fill the machine as
    what is measured does.
    """
    threads, filled = plan.runtime.threads, plan.allotment.concurrent * plan.runtime.threads
    if plan.runtime.device != "cpu" or filled < usable_cpus():
        return
    speed = trial_speed(history, len(plan.data.train))
    if speed and contradicted(plan.runtime.precision, threads, speed):
        say(
            f"a trial trained {speed:.0f} images a second on {counted(threads, 'thread')}, unlike"
            " what was measured: the next search measures this machine's threads again"
        )


def trial_speed(history: History, images: int) -> float | None:
    """Images a second of a trial, by the median epoch of the last session; None where too few
    tell. First epochs, which also load libraries, do not count, nor do networks and optimizers that
    cost more than what is measured."""
    began = history.sessions[-1].began
    seconds = [
        row.seconds
        for trial in history.trials.values()
        if trial.config.width == 1 and not trial.config.sam and trial.config.norm == "none"
        for row in trial.curve
        if row.epoch > 1 and row.time >= began
    ]
    if len(seconds) < ENOUGH or not (typical := median(seconds)):
        return None
    return images / typical
