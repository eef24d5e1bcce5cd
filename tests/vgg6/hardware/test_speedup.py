"""How much faster one network is than another."""

from __future__ import annotations

import pytest

from vgg6.hardware.speedup import Speedup, speedup, time_in_turns

pytestmark = pytest.mark.slow


def test_speed_is_a_ratio_of_medians_of_times_taken_in_turns() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    assert [len(x) for x in time_in_turns(calls, 3).values()] == [3, 3]
    assert order == ["a", "b"] * 4
    times = {"slow": [4.0, 8.0, 6.0, 60.0, 6.0], "fast": [2.0, 2.0, 3.0, 3.0, 2.0]}
    assert speedup(times, "slow", "fast") == Speedup(ratio=3.0, low=2.0, high=4.0)
