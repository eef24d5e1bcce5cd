"""The process that ``wandb_summary`` starts: it sums a search up in one W&B run.

python -m analysis.report.send_wandb_summary RUN --mode offline --dir DIR --project P --group NAME
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

import wandb

from analysis.report.contents import ReportContents
from analysis.report.gather_contents import gather
from analysis.report.slow_parts import WithoutMistakes
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search
from vgg6.tuning.trackers.journal_mirror import end_quickly, run_id
from vgg6.tuning.trackers.wandb_mirror import INIT_TIMEOUT_S

WHOLE_S = 180  # after which it ends itself, whatever W&B does
SUMMARY_NUMBER = -1  # no trial's, so that its W&B run is found again
JOB = "summary"
CONFIRMED = ("mean", "sd", "low", "high", "optimism")


def facts_of(contents: ReportContents) -> dict[str, Any]:
    """The winner's numbers for the summary of the W&B run, by names that sort together."""
    best, saved = contents.best, contents.insights.saved
    facts: dict[str, Any] = {
        "trials": len(contents.trials),
        "epochs_run": saved.epochs_run,
        "epochs_saved": saved.share,
        "diverged": contents.insights.infeasible.count,
    }
    if best is None:
        return facts
    facts |= {
        "winner/trial": best.winner.in_search.trial,
        "winner/label": best.winner.in_search.label,
        "winner/search_val_acc": best.winner.in_search.best_val_acc,
    }
    metric = best.measure
    if not metric.is_accuracy:
        facts["metric"] = metric.name
        facts[f"winner/search_{metric.column}"] = best.winner.in_search.score
    if confirmation := contents.search.confirmation:
        known = {name: getattr(confirmation.chosen, name) for name in CONFIRMED}
        of = "" if metric.is_accuracy else f"{metric.column}_"
        facts |= {f"winner/{of}{k}": value for k, value in known.items() if value is not None}
    if test := best.test:
        facts |= {"winner/test_accuracy": test.accuracy, "test_looks": test.looks}
        if test.balanced_accuracy is not None:
            facts["winner/test_balanced_accuracy"] = test.balanced_accuracy
    return facts


def send(run: RunFolder, mode: str, folder: Path, project: str, group: str) -> None:
    """Write the W&B run."""
    contents = gather(read_search(run), WithoutMistakes())
    created = min((t.created for t in contents.history.trials.values()), default=0.0)
    started = wandb.init(
        project=project,
        group=group,
        name=f"{group} summary",
        job_type=JOB,
        id=run_id(group, created, SUMMARY_NUMBER),
        config=contents.best.winner.config.to_dict() if contents.best else {},
        dir=str(folder),
        mode=mode,  # type: ignore[arg-type]
        resume="allow",
        settings=wandb.Settings(
            console="off", silent=True, init_timeout=INIT_TIMEOUT_S, x_disable_stats=True
        ),
    )
    table = contents.trials.astype(object).where(contents.trials.notna(), None)
    logged: dict[str, Any] = {"trials_table": wandb.Table(dataframe=table)}
    logged |= {f"report/{name}": wandb.Plotly(fig) for name, fig in contents.figures.items()}
    started.log(logged)
    started.summary.update(facts_of(contents))
    started.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description="sum a search up in W&B")
    parser.add_argument("run")
    for flag in ("--mode", "--project", "--group"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--dir", required=True, type=Path)
    args = parser.parse_args()
    signal.alarm(WHOLE_S)
    end_quickly()
    send(RunFolder(args.run), args.mode, args.dir, args.project, args.group)


if __name__ == "__main__":
    main()
