"""``train``, ``verify``, ``evaluate`` and ``compress``: make a package, check it, shrink it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from analysis.packages.checksums import SUMS
from analysis.packages.compression_plan import Plan
from cli.console import DONE, FAILED, add_json_flag, print_result
from cli.environment import check_devices
from cli.flags import add_train_flags, number, whole
from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import check_target
from vgg6.common.say import say
from vgg6.config import FIELD_NAMES, TrialConfig, parse_value
from vgg6.data import data_facts, load_source, split


def add_commands(add: Any) -> None:
    p = add("train", train, "train one configuration and save it")
    add_train_flags(p)
    p = add("verify", verify, "train a package again from its folder alone, and compare")
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument("--quick", action="store_true", help="score the packed weights only")
    p.add_argument("--data", help="where its images are, if not where they were")
    add_json_flag(p)
    text = "score a package on labelled images: by class, with confusion and calibration"
    p = add("evaluate", evaluate, text)
    p.add_argument(
        "package", metavar="DIR", help="a package, as export, train and compress write it"
    )
    p.add_argument("--data", help="cifar10, digits, a FOLDER or an .npz file; default: its own")
    p.add_argument("--part", help="validation (of its own data), test (of any other), train")
    p.add_argument("--figure", metavar="FILE", help="draw it: an .html, .png, .svg or .pdf file")
    add_json_flag(p)
    text = "prune or quantise a package's network, and say what that costs and gains"
    p = add("compress", compress, text)
    p.add_argument("package", metavar="DIR", help="a package, as export and train write it")
    p.add_argument("--method", action="append", required=True, help="prune, int8; or both, twice")
    p.add_argument("--sparsity", help="the share of the FLOPs that pruning takes (0.5)")
    p.add_argument("--epochs", default="5", help="of training after pruning (5)")
    p.add_argument("--rounds", default="15", help="how often each network is timed (15)")
    p.add_argument("--data", help="where its images are, if not where they were")
    p.add_argument("--out", metavar="DIR", help="the folder to write; default: beside it")
    add_json_flag(p)


def train(args: argparse.Namespace) -> int:
    given = {k: getattr(args, k) for k in FIELD_NAMES if getattr(args, k) is not None}
    check_devices()
    config = TrialConfig(**{k: parse_value(k, v) for k, v in given.items()})
    limit = whole("limit_train", args.limit_train)
    source = load_source(args.data)
    split_seed = whole("split_seed", args.split_seed)
    data = split(source, split_seed=split_seed, limit_train=limit)
    from analysis.packages.train import train_and_save

    return train_and_save(
        config,
        data,
        out=Path(args.out or f"runs/train-{config.label}-{config.fingerprint}"),
        data_facts=data_facts(
            args.data, source, data, split_seed=split_seed, limit_train=limit
        ).to_dict(),
        device=args.device,
        precision=args.precision,
        threads=whole("threads", args.threads),
        stop_after=whole("stop_after", args.stop_after),
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
        sparsity=number("sparsity", args.sparsity),
        epochs=whole("epochs", args.epochs),
        rounds=whole("rounds", args.rounds),
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
