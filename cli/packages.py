"""``train``, ``verify``, ``evaluate`` and ``compress``: make a package, check it, shrink it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from analysis.packages.compression_plan import Plan
from analysis.packages.package_files import SUMS, check_new, check_out
from cli.environment import check_devices
from cli.exit_codes import DONE, FAILED
from cli.flags import (
    add_demo_flag,
    add_fields,
    add_force_flag,
    add_opset_flag,
    fill_fields,
    heading_of,
    read_fields,
    read_opset,
    read_whole,
)
from cli.output import add_json_flag, print_result, say_what_is_odd
from vgg6.common.checks import InputError, Range, check_choice
from vgg6.common.machine import THREADS
from vgg6.common.say import say
from vgg6.config import TrialConfig
from vgg6.data import Reading, data_facts, load_source, split
from vgg6.metric import metric_named
from vgg6.tuning.settings import Settings

# Settings of a search that a single run has too.
DATA_FIELDS = ("data", "image_size", "label_column", "skip_damaged", "limit_train", "split_seed")
RUNTIME_FIELDS = ("device", "precision", "kernels")
CHOICE_FIELDS = ("metric",)  # what the best epoch is chosen by
PLAN_FIELDS = ("sparsity", "epochs", "rounds")
ITS_DATA = "where its images are (default: where they were)"


def add_commands(add: Any) -> None:
    p = add(
        "train", train, "train one configuration and save it", usage="tune_vgg6.py train [FLAGS]"
    )
    title = "configuration; the defaults are the study's best"
    add_fields(p, TrialConfig, group=title, ranges=True)
    group = "data and arithmetic"
    add_fields(p, Settings, DATA_FIELDS, group=group)
    add_fields(p, Settings, RUNTIME_FIELDS, group=group)
    add_fields(p, Settings, CHOICE_FIELDS, group=group)
    heading = heading_of(p, group)
    heading.add_argument("--threads", metavar="N", help="CPU threads (default: all)")
    heading.add_argument("--stop-after", metavar="N", help="end after so many of the epochs")
    add_opset_flag(heading)
    add_demo_flag(heading)
    heading.add_argument("--out", metavar="DIR", help="folder to write (default: below runs/)")
    add_force_flag(heading)
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
        help="a name, a folder or an .npz file, as --data of search (default: its own)",
    )
    p.add_argument(
        "--part",
        metavar="NAME",
        help="validation (default of its own data), test (of any other) or train",
    )
    p.add_argument(
        "--figure", metavar="FILE", help="draw the result: an .html, .png, .svg or .pdf file"
    )
    p.add_argument(
        "--skip-damaged", action="store_true", help="leave out pictures that cannot be read"
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
    add_fields(p, Plan, PLAN_FIELDS)
    p.add_argument("--data", metavar="DATA", help=ITS_DATA)
    p.add_argument("--out", metavar="DIR", help="folder to write (default: beside the package)")
    add_force_flag(p)
    add_json_flag(p)


def train(args: argparse.Namespace) -> int:
    config = TrialConfig(**read_fields(args, TrialConfig))
    given = fill_fields(args, Settings, DATA_FIELDS)
    runtime = fill_fields(args, Settings, RUNTIME_FIELDS)
    metric = metric_named(fill_fields(args, Settings, CHOICE_FIELDS)["metric"])
    threads = None if args.threads is None else read_whole("threads", args.threads, THREADS)
    stop_after = args.stop_after
    if stop_after is not None:
        stop_after = read_whole("stop_after", stop_after, Range(1, config.epochs))
    opset = read_opset(args)
    out = folder_to_write(args, Path(f"runs/train-{config.label}-{config.fingerprint}"))
    check_devices()
    cut = {k: given[k] for k in ("split_seed", "limit_train")}
    how = Reading(**{k: given[k] for k in ("image_size", "label_column", "skip_damaged")})
    source = load_source(given["data"], how)
    data = split(source, **cut)
    say_what_is_odd(source, data, args.flip)
    from analysis.packages.train import train_and_save
    from vgg6.training import NonFiniteLoss

    facts = data_facts(given["data"], source, data, how=how, **cut)
    try:
        train_and_save(
            config, data, out=out, data_facts=facts, threads=threads, stop_after=stop_after,
            opset=opset, demo=args.demo, metric=metric, **runtime,
        )  # fmt: skip
    except NonFiniteLoss as error:
        return nothing_saved(error)
    return DONE


def verify(args: argparse.Namespace) -> int:
    folder = package_folder(args.package)
    check_devices()
    from analysis.verification.verdict import NOT_REPRODUCED, render
    from analysis.verification.verify import verify as compare

    found = compare(folder, quick=args.quick, data=args.data)
    print_result(found, args.json, render)
    return FAILED if found.verdict == NOT_REPRODUCED else DONE


def evaluate(args: argparse.Namespace) -> int:
    if args.part is not None:
        check_choice("part", args.part, ("validation", "test", "train"))
    folder = package_folder(args.package)
    check_devices()
    if args.figure:
        from analysis.figures.figure_files import check_figure

        check_figure("figure", Path(args.figure))
    from analysis.packages.evaluate import evaluate as score
    from analysis.packages.evaluate import render

    found = score(folder, data=args.data, part=args.part, skip_damaged=args.skip_damaged)
    print_result(found, args.json, render)
    if args.figure:
        from analysis.figures.figure_files import write_figure
        from analysis.figures.score_figure import draw

        write_figure(draw(found), Path(args.figure))
    return DONE


def compress(args: argparse.Namespace) -> int:
    plan = Plan(methods=args.method, **read_fields(args, Plan, PLAN_FIELDS))
    folder = package_folder(args.package)
    out = folder_to_write(args, Path(f"{os.path.realpath(folder)}-{plan.name}"))
    check_devices()
    from analysis.packages.compress import compress as make
    from analysis.packages.compress import render
    from vgg6.training import NonFiniteLoss

    try:
        found = make(folder, out, plan, args.data)
    except NonFiniteLoss as error:
        return nothing_saved(error)
    print_result(found, args.json, render)
    return DONE


def folder_to_write(args: argparse.Namespace, default: Path) -> Path:
    """Where a package goes. The default is named after what it will hold, and may be written again.

    Raises:
        InputError: the folder holds other things, or a package that nobody asked to replace.
    """
    out = default if args.out is None else Path(args.out)
    if args.out is None or args.force:
        check_out(out)
    else:
        check_new(out)
    return out


def nothing_saved(error: ArithmeticError) -> int:
    """Say that a training diverged. Returns the exit status."""
    say(f"error: {error}; nothing was saved")
    return FAILED


def package_folder(given: str) -> Path:
    """A package's folder, or InputError where it is none."""
    if not (Path(given) / SUMS).is_file():
        raise InputError("package", given, f"is no package: it has no {SUMS}")
    return Path(given)
