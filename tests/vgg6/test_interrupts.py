"""An interrupt is answered once, and never lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from vgg6.common.interrupts import ends_as_ctrl_c, held_back


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """A hangup is not ignored, as it is by what nohup starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_not_lost_in_a_library_that_swallows_it(number: int) -> None:
    steps = []
    with ends_as_ctrl_c():
        with pytest.raises(KeyboardInterrupt), held_back():
            try:
                signal.raise_signal(number)
                steps.append("went on")
            except BaseException:
                steps.append("swallowed")
        with pytest.raises(KeyboardInterrupt):  # the answer of before is back
            signal.raise_signal(number)
    assert steps == ["went on"]


def test_an_interrupt_that_was_held_back_comes_before_an_error_of_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("what the interrupt broke")
