"""``train``, ``verify``, ``evaluate`` and ``compress``: make a package, check it, shrink it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from analysis.packages.checksums import SUMS
from analysis.packages.compression_plan import DEFAULT_SPARSITY, Plan
from cli.console import DONE, FAILED, add_json_flag, print_result
from cli.environment import check_devices
from cli.flags import add_fields, fill_fields, heading_of, read_fields, read_share, read_whole
from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import check_target
from vgg6.common.say import say
from vgg6.config import SPARSITY, TrialConfig
from vgg6.data import data_facts, load_source, split
from vgg6.tuning.settings import Settings

# Settings of a search that a single run has too.
DATA_FIELDS = ("data", "limit_train", "split_seed")
RUNTIME_FIELDS = ("device", "precision")
ITS_DATA = "where its images are (default: where they were)"


def add_commands(add: Any) -> None:
    p = add(
        "train", train, "train one configuration and save it", usage="tune_vgg6.py train [FLAGS]"
    )
    add_fields(p, TrialConfig, group="configuration; the defaults are the study's best")
    group = "data and arithmetic"
    add_fields(p, Settings, DATA_FIELDS, group=group)
    add_fields(p, Settings, RUNTIME_FIELDS, group=group)
    heading = heading_of(p, group)
    heading.add_argument("--threads", metavar="N", help="CPU threads (default: all)")
    heading.add_argument("--stop-after", metavar="N", help="end after so many of the epochs")
    heading.add_argument("--out", metavar="DIR", help="folder to write (default: below runs/)")
    p = add("verify", verify, "train a package again from its folder alone, and compare")
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument("--quick", action="store_true", help="score the packed weights only")
    p.add_argument("--data", metavar="DATA", help=ITS_DATA)
    add_json_flag(p)
    text = "score a package on labelled images: by class, with confusion and calibration"
    p = add("evaluate", evaluate, text)
    p.add_argument(
        "package", metavar="DIR", help="a package, as export, train and compress write it"
    )
    p.add_argument(
        "--data",
        metavar="DATA",
        help="cifar10, digits, a folder or an .npz file (default: its own)",
    )
    p.add_argument(
        "--part",
        metavar="NAME",
        help="validation (default of its own data), test (of any other) or train",
    )
    p.add_argument(
        "--figure", metavar="FILE", help="draw the result: an .html, .png, .svg or .pdf file"
    )
    add_json_flag(p)
    text = "prune or quantise a package's network, and say what that costs and gains"
    p = add("compress", compress, text)
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument(
        "--method",
        action="append",
        required=True,
        metavar="NAME",
        help="prune or int8; give it twice for both",
    )
    p.add_argument(
        "--sparsity",
        metavar="X",
        help=f"share of the FLOPs that pruning takes (default: {DEFAULT_SPARSITY})",
    )
    p.add_argument(
        "--epochs",
        default=str(Plan.epochs),
        metavar="N",
        help="epochs of training after pruning (default: %(default)s)",
    )
    p.add_argument(
        "--rounds",
        default=str(Plan.rounds),
        metavar="N",
        help="how often each network is timed (default: %(default)s)",
    )
    p.add_argument("--data", metavar="DATA", help=ITS_DATA)
    p.add_argument("--out", metavar="DIR", help="folder to write (default: beside the package)")
    add_json_flag(p)


def train(args: argparse.Namespace) -> int:
    config = TrialConfig(**read_fields(args, TrialConfig))
    given = fill_fields(args, Settings, DATA_FIELDS)
    runtime = fill_fields(args, Settings, RUNTIME_FIELDS)
    threads = None if args.threads is None else read_whole("threads", args.threads, 1, 1024)
    stop_after = args.stop_after
    if stop_after is not None:
        stop_after = read_whole("stop_after", stop_after, 1, config.epochs)
    out = Path(args.out or f"runs/train-{config.label}-{config.fingerprint}")
    check_target("out", out)
    check_devices()
    cut = {k: given[k] for k in ("split_seed", "limit_train")}
    source = load_source(given["data"])
    data = split(source, **cut)
    from analysis.packages.train import train_and_save

    return train_and_save(
        config,
        data,
        out=out,
        data_facts=data_facts(given["data"], source, data, **cut).to_dict(),
        threads=threads,
        stop_after=stop_after,
        **runtime,
    )


def verify(args: argparse.Namespace) -> int:
    folder = package_folder(args.package)
    check_devices()
    from analysis.packages.verify import NOT_REPRODUCED, render
    from analysis.packages.verify import verify as compare

    found = compare(folder, quick=args.quick, data=args.data)
    print_result(found, args.json, render)
    return FAILED if found["verdict"] == NOT_REPRODUCED else DONE


def evaluate(args: argparse.Namespace) -> int:
    if args.part is not None:
        check_choice("part", args.part, ("validation", "test", "train"))
    folder = package_folder(args.package)
    check_devices()
    if args.figure:
        from analysis.figures.figure_files import check_figure

        check_figure("figure", Path(args.figure))
    from analysis.packages.evaluate import draw, render
    from analysis.packages.evaluate import evaluate as score

    found = score(folder, data=args.data, part=args.part)
    if args.figure:
        from analysis.figures.figure_files import write_figure

        write_figure(draw(found), Path(args.figure))
    print_result(found, args.json, render)
    return DONE


def compress(args: argparse.Namespace) -> int:
    plan = Plan(
        methods=args.method,
        sparsity=args.sparsity and read_share("sparsity", args.sparsity, SPARSITY),
        epochs=read_whole("epochs", args.epochs, 0, 1000),
        rounds=read_whole("rounds", args.rounds, 1, 10_000),
    )
    folder = package_folder(args.package)
    out = Path(args.out or f"{folder.resolve()}-{plan.name}")
    check_target("out", out)
    check_devices()
    from analysis.packages.compress import compress as make
    from analysis.packages.compress import render
    from vgg6.training import NonFiniteLoss

    try:
        found = make(folder, out, plan, args.data)
    except NonFiniteLoss as error:
        say(f"error: {error}; nothing was saved")
        return FAILED
    print_result(found, args.json, render)
    return DONE


def package_folder(given: str) -> Path:
    """A package's folder, or InputError where it is none."""
    if not (Path(given) / SUMS).is_file():
        raise InputError("package", given, f"is no package: it has no {SUMS}")
    return Path(given)
