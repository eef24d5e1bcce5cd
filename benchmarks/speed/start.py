"""Claim: a search takes its first training step within 1.3 times what a bare script on Ray takes.

    python -m benchmarks.speed.start            # five turns, about three minutes
    python -m benchmarks.speed.start --turns 1  # the quick part

The two take turns. Each is timed from its command to the beginning of its first training step, on
the same images (``digits``).

- The bare script calls ``ray.init``, puts the images into the object store and starts one actor,
  which imports torch and trains a step on them.
- The search is the real command, with its own Ray. It starts all the workers that fit.

Where the search's time goes is shown too: what was imported, read, started and asked, each with its
beginning and its end. Parts of it run at the same time.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

BAR = 1.3
IMAGES = 500
BARE = f"""
import time
import ray
from vgg6.data import load_source, split

data = split(load_source("digits"), limit_train={IMAGES}).train
ray.init(address="local", include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=1)
class Trainer:
    def first_step(self, data):
        import torch
        from torch import nn
        images = torch.tensor(data.images[:128]).permute(0, 3, 1, 2).float() / 255
        labels = torch.tensor(data.labels[:128]).long()
        network = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(),
                                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        began = time.time()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        return began

print(ray.get(Trainer.remote().first_step.remote(ray.put(data))))
"""
# Modules that are timed while they are imported, and their functions that are timed when called
# for the first time; with what they do, in words.
WATCHED = {
    "ray": ("import Ray", {"init": "Ray's processes"}),
    "cli.search": ("", {"load_source": "the images are read"}),
    "torch": ("import torch", {}),
    "vgg6.tuning.session.start": ("import the session", {"make_plan": "the plan"}),
    "vgg6.tuning.session.session": ("", {"build_searcher": "the searcher"}),
    "vgg6.tuning.algorithms.searcher": (
        "import the searcher", {"TruthfulSearcher.suggest": "the first suggestion"}
    ),
    "ray.tune": ("import Ray Tune", {"with_parameters": "images into the object store"}),
}  # fmt: skip
FIRST_STEP = "the first step begins"


class Stopwatch(MetaPathFinder):
    """Writes when each of ``WATCHED`` began and ended, in seconds since ``began``, into a file."""

    def __init__(self, began: float, file: Path) -> None:
        self.began, self.file, self._left = began, file, dict(WATCHED)

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name not in self._left:
            return None
        what, functions = self._left.pop(name)
        spec = importlib.util.find_spec(name)
        assert spec and spec.loader
        load = spec.loader.exec_module

        def timed_load(module: ModuleType) -> None:
            self.timed(what, load)(module)
            for dotted, does in functions.items():
                *owners, function = dotted.split(".")
                owner = functools.reduce(getattr, owners, module)
                setattr(owner, function, self.timed(does, getattr(owner, function)))

        spec.loader.exec_module = timed_load  # type: ignore[method-assign]
        return spec

    def timed(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, which writes its first time down."""
        done = not what

        @functools.wraps(call)
        def timed_call(*given: Any, **named: Any) -> Any:
            nonlocal done
            if done:
                return call(*given, **named)
            done, start = True, time.time()
            try:
                return call(*given, **named)
            finally:
                row = {"what": what, "from": start - self.began, "to": time.time() - self.began}
                with self.file.open("a") as file:
                    file.write(json.dumps(row) + "\n")

        return timed_call


def bare() -> float:
    """Seconds to the first step of the bare script."""
    from benchmarks.machine import ROOT

    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1]) - began


def searched() -> list[dict[str, Any]]:
    """What a search did until its first step began: its parts, from when to when."""
    from benchmarks.machine import ROOT
    from vgg6.tuning.run.folder import JOURNAL, RunFolder
    from vgg6.tuning.run.journal import read_history
    from vgg6.tuning.run.trials import Epoch

    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        words = [
            "search", "--storage", folder, "--name", "s", "--address", "local", "--data", "digits",
            "--limit-train", str(IMAGES), "--trials", "8", "--wandb", "disabled",
        ]  # fmt: skip
        began = time.time()
        module = ("-m", "benchmarks.speed.start")
        command = [sys.executable, *module, "--watched", str(began), str(marks)]
        process = subprocess.Popen(
            [*command, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        run = RunFolder(f"{folder}/s")
        rows: list[Epoch] = []
        while not rows:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
            if Path(run.file(JOURNAL)).exists():
                trials = read_history(run).trials.values()
                rows = [row for trial in trials for row in trial.curve]
        process.send_signal(signal.SIGINT)
        process.communicate()
        parts = [json.loads(line) for line in marks.read_text().splitlines()]
    first = min(row.time - row.seconds for row in rows) - began
    asked = max(part["to"] for part in parts)
    worker = {"what": "a worker takes the trial", "from": asked, "to": first}
    return sorted([*parts, worker], key=lambda part: float(part["from"]))


def watched(began: float, file: Path, words: Sequence[str]) -> int:
    """Run the command in this process, timed."""
    sys.meta_path.insert(0, Stopwatch(began, file))
    sys.argv = ["tune_vgg6.py", *words]
    from cli.main import main as run

    return run(words)


def main() -> None:
    if sys.argv[1:2] == ["--watched"]:
        _, _, began, file, *words = sys.argv
        sys.exit(watched(float(began), Path(file), words))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=5, help="of each (default: 5)")
    arguments = parser.parse_args()
    from benchmarks.machine import describe, write_result

    facts = describe(turns=arguments.turns)
    searched()  # what is measured once a machine, such as its fastest threads
    bare()
    pairs, runs = [], []
    for _ in range(arguments.turns):
        alone = bare()
        runs.append(searched())
        pairs.append((alone, max(part["to"] for part in runs[-1])))
    print(f"\n{'seconds since the command':30}    from      to")
    for part in runs[-1]:
        spans = [row for run in runs for row in run if row["what"] == part["what"]]
        ends = (statistics.median(row[side] for row in spans) for side in ("from", "to"))
        print(f"{part['what']:30}{next(ends):8.2f}{next(ends):8.2f}")
    ratios = [search / alone for alone, search in pairs]
    median = statistics.median(ratios)
    bare_s, search_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{FIRST_STEP:30}{search_s:16.2f}, of the bare script {bare_s:.2f}")
    verdict = "holds" if median <= BAR else "does NOT hold"
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"ratio {median:.2f} {spread}, at most {BAR:g}: the claim {verdict}")
    found = {"ratio": median, "bar": BAR, "holds": median <= BAR, "pairs": pairs, "runs": runs}
    write_result("start", {"machine": facts, **found})


if __name__ == "__main__":
    main()
