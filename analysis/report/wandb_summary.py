"""One W&B run that sums a search up: its winner, its table and the report's figures.

A process of its own, started when a search or a confirmation ends. The search waits for it as long
as for the mirror of its trials; what it still has to send then, it sends alone.

    python -m analysis.report.wandb_summary RUN --mode offline --dir DIR --project P --group NAME
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from analysis.report.contents import ReportContents
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.records import confirmed_winner
from vgg6.tuning.trackers.wandb_mirror import FINISH_S, INIT_TIMEOUT_S, run_id

WHOLE_S = 180  # after which it ends itself, whatever W&B does
SUMMARY_NUMBER = -1  # no trial's, so that its W&B run is found again
JOB = "summary"


def start_summary(
    run: RunFolder, mode: str, *, folder: Path, project: str, group: str, waited: float = 0.0
) -> str:
    """Sum a search up in W&B; nothing where ``mode`` is disabled.

    Waits 10 s at most, less the seconds that were ``waited`` for W&B before. Returns what went
    wrong or still goes on, or ``""``.
    """
    if mode == "disabled":
        return ""
    log = folder / "wandb.log"
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [
        sys.executable, "-m", "analysis.report.wandb_summary", run.uri, "--mode", mode, "--dir",
        str(folder), "--project", project, "--group", group,
    ]  # fmt: skip
    with open(log, "ab") as lines:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
    try:
        code = process.wait(max(0.0, FINISH_S - waited))
    except subprocess.TimeoutExpired:
        return f"the summary is still being sent to W&B; see {log}"
    return f"W&B's summary failed (exit {code}); see {log}" if code else ""


def facts_of(found: ReportContents) -> dict[str, Any]:
    """The winner's numbers for the summary of the W&B run, by names that sort together."""
    best, saved = found.best, found.insights["saved"]
    facts: dict[str, Any] = {
        "trials": len(found.trials),
        "epochs_run": saved["epochs_run"],
        "epochs_saved": saved["share"],
        "diverged": found.insights["infeasible"]["count"],
    }
    if best is None:
        return facts
    facts |= {
        "winner/trial": best["winner"]["trial"],
        "winner/label": best["winner"]["label"],
        "winner/search_val_acc": best["winner"]["best_val_acc"],
    }
    if confirmed := best["confirmation"]:
        row = confirmed_winner(confirmed)
        known = ("mean", "sd", "low", "high", "optimism")
        facts |= {f"winner/{key}": row[key] for key in known if row[key] is not None}
    if test := best["test"]:
        facts |= {"winner/test_accuracy": test["accuracy"], "test_looks": test["looks"]}
    return facts


def send(run: RunFolder, mode: str, folder: Path, project: str, group: str) -> None:
    """Write the W&B run."""
    import wandb

    from analysis.report.report import gather

    found = gather(run)
    created = min((t.created for t in found.history.trials.values()), default=0.0)
    started = wandb.init(
        project=project,
        group=group,
        name=f"{group} summary",
        job_type=JOB,
        id=run_id(group, created, SUMMARY_NUMBER),
        config=found.best["winner"]["config"] if found.best else {},
        dir=str(folder),
        mode=mode,  # type: ignore[arg-type]
        resume="allow",
        settings=wandb.Settings(
            console="off", silent=True, init_timeout=INIT_TIMEOUT_S, x_disable_stats=True
        ),
    )
    table = found.trials.astype(object).where(found.trials.notna(), None)
    logged: dict[str, Any] = {"trials_table": wandb.Table(dataframe=table)}
    logged |= {f"report/{name}": wandb.Plotly(fig) for name, fig in found.figures.items()}
    started.log(logged)
    started.summary.update(facts_of(found))
    started.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description="sum a search up in W&B")
    parser.add_argument("run")
    for flag in ("--mode", "--project", "--group"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--dir", required=True, type=Path)
    args = parser.parse_args()
    signal.alarm(WHOLE_S)
    send(RunFolder(args.run), args.mode, args.dir, args.project, args.group)


if __name__ == "__main__":
    main()
