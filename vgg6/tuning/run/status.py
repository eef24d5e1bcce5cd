"""How a search stands, from its folder alone, while it runs or after."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from typing import Any

from filelock import FileLock, Timeout

from vgg6.config import TrialConfig
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.progress import clock, remaining_epochs
from vgg6.tuning.run.records import read_search


def status_of(run: RunFolder) -> dict[str, Any]:
    """The state of a search as plain values; ``minutes_left`` is None before the first end."""
    facts, history = read_search(run), j.read_history(run)
    states = Counter(t.state for t in history.trials.values())
    session = history.sessions[-1] if history.sessions else {}
    running = is_running(run)
    outcome = "running" if running else session.get("outcome", "killed" if session else "not begun")
    best = history.incumbent
    started = session.get("time", 0.0)
    rows = [row for t in history.trials.values() for row in t.rows.values()]
    recent = [row for row in rows if row["time"] >= started]
    last = max((row["time"] for row in recent), default=started)
    rate = len(recent) / (last - started) * 60 if last > started else 0.0
    left = remaining_epochs(history, facts["trials"])
    return {
        "search": facts["name"],
        "data": facts["data"]["name"],
        "state": outcome,
        "trials": facts["trials"],
        "by_state": dict(states),
        "epochs_run": len(rows),
        "epochs_a_minute": round(rate, 2),
        "minutes_left": round(left / rate, 1) if running and rate and left is not None else None,
        "last_news_s": round(time.time() - last) if last else None,
        "incumbent": best
        and {
            "trial": best.number,
            "label": TrialConfig.from_mapping(best.config).label,
            "best_val_acc": best.best_val_acc,
            "config": best.config,
        },
        "repeated_rows": history.repeated_rows,
        "torn_lines": history.torn_lines,
    }


def render(status: dict[str, Any]) -> str:
    """The status as a few lines of text."""
    states = ", ".join(f"{n} {state}" for state, n in sorted(status["by_state"].items()))
    lines = [
        f"{status['search']} on {status['data']}: {status['state']}",
        f"  trials    {status['trials']} asked for: {states or 'none begun'}",
        f"  epochs    {status['epochs_run']} run, {status['epochs_a_minute']} a minute",
    ]
    if status["minutes_left"] is not None:
        lines.append(f"  left      about {clock(60 * status['minutes_left'])}")
    if best := status["incumbent"]:
        score = f"val_acc {best['best_val_acc']:.4f}"
        lines.append(f"  incumbent trial {best['trial']} {best['label']}: {score}")
    if torn := status["torn_lines"]:
        lines.append(f"  journal   {torn} line{'s' * (torn > 1)} torn by a crash, left out")
    if status["state"] in ("interrupted", "incomplete", "killed", "failed"):
        lines.append(f"  to go on  tune_vgg6.py resume {shlex.quote(status['search'])}")
    return "\n".join(lines)


def is_running(run: RunFolder) -> bool:
    """Whether a driver holds the run folder's lock; for an object store nobody can tell."""
    if not run.local or not run.exists(".lock"):
        return False
    try:
        FileLock(run.file(".lock")).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False
