"""Claim: every trial of a node sees the images without a copy, and a new trial has them at once.

    python -m benchmarks.speed.data_sharing  # about a minute, with CIFAR-10 at hand

Compares Ray's object store, which the search uses, with a memory-mapped file. In each of two trial
processes a worker takes the 45,000 training images and reads every byte once. It says how long that
took, and how much memory became its own. That is the USS: pages that no other process maps at that
moment. A file's pages count towards it while only one process maps them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray

from benchmarks.machine import describe, write_result
from vgg6.data import load_source, split
from vgg6.tuning.cluster import connect as cluster


@ray.remote(num_cpus=1)
class Worker:
    """A process that takes the images one way or the other, as a trial does."""

    def take(self, way: str, source: Any) -> dict[str, float]:
        before = psutil.Process().memory_full_info().uss
        started = time.perf_counter()
        images = ray.get(source[0]) if way == "object store" else np.load(source[0], mmap_mode="r")
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        total = int(images.view(np.uint8).sum(dtype=np.int64))
        assert total > 0
        own = psutil.Process().memory_full_info().uss - before
        return {"get_s": seconds, "read_s": time.perf_counter() - started, "own_mb": own / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--rounds", type=int, default=5, help="of two workers each, both ways")
    arguments = parser.parse_args()
    data = split(load_source(arguments.data))
    facts = describe(data=data.name, rounds=arguments.rounds)
    cluster.quiet_environment()
    cluster.connect("local", verbose=False)
    rows: dict[str, list[dict[str, float]]] = {"object store": [], "memory map": []}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "images.npy")
        np.save(file, data.train.images)
        started = time.perf_counter()
        stored = ray.put(data.train.images)
        put_s = time.perf_counter() - started
        for _ in range(arguments.rounds):
            for way, source in (("object store", stored), ("memory map", file)):
                workers = [Worker.remote() for _ in range(2)]  # type: ignore[attr-defined]
                rows[way] += ray.get([w.take.remote(way, [source]) for w in workers])
                for worker in workers:
                    ray.kill(worker)
    ray.shutdown()
    median = {
        way: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for way, found in rows.items()
    }
    print(f"{data.train.images.nbytes / 1e6:.0f} MB of images; put once in {put_s:.2f} s")
    for way, values in median.items():
        print(
            f"{way:<13} get {1e3 * values['get_s']:6.2f} ms   first read {values['read_s']:.3f} s"
            f"   own memory {values['own_mb']:6.1f} MB"
        )
    write_result(
        "data_sharing", {"machine": facts, "put_s": put_s, "median": median, "samples": rows}
    )


if __name__ == "__main__":
    main()
