"""``best`` and ``export``: which configuration won, confirmed if asked, and packed."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from analysis.confirmation.winner_rule import MARGIN
from analysis.demo.onnxruntime_web import ADDRESS, SERVE
from analysis.packages.package_files import DEMO, check_new, check_out
from analysis.suggested_commands import command, verify_command
from cli.confirm import Confirming, add_confirm_flags, confirm, confirm_front, to_tell
from cli.exit_codes import DONE
from cli.flags import (
    add_demo_flag,
    add_force_flag,
    add_opset_flag,
    add_run_argument,
    add_session_flags,
    read_opset,
    read_whole,
)
from cli.output import add_json_flag, print_result
from vgg6.common.checks import InputError, Range, check_integer
from vgg6.common.quantities import read_count
from vgg6.common.say import say
from vgg6.tuning.run.folder import open_run
from vgg6.tuning.run.search import read_search

COUNTED = Range(1, 10**12)


def add_commands(add: Any) -> None:
    p = add("best", best, "show a search's best configuration, its curve and the ranking")
    add_run_argument(p)
    p.add_argument(
        "--top", default="5", metavar="N", help="trials to show, or to confirm (default: 5)"
    )
    add_confirm_flags(p, "train them again, with N fresh seeds each")
    text = "with --confirm N: confirm the front, which is the best network of each size"
    p.add_argument("--front", action="store_true", help=text)
    add_session_flags(p)
    add_json_flag(p)
    p = add("export", export, "write the best configuration as a folder that stands alone")
    add_run_argument(p)
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    p.add_argument(
        "--trial", metavar="N", help="this trial, whatever it scored (default: the best)"
    )
    p.add_argument(
        "--at",
        metavar="COUNT",
        help="the best network of at most so many parameters, such as 300k: by its mean over fresh"
        " seeds where the front was confirmed",
    )
    add_opset_flag(p)
    add_demo_flag(p)
    add_force_flag(p)
    add_json_flag(p)


def best(args: argparse.Namespace) -> int:
    top = read_whole("top", args.top, Range(1, 1_000_000))
    asked = Confirming.read(args)
    if args.front and (asked is None or asked.seeds is None):
        rule = "needs the number of seeds that each network of the front is trained with"
        raise InputError("confirm", "auto" if asked else "none", rule)
    if args.front and asked is not None and asked.margin != MARGIN:
        rule = "is not for --front: all its networks are trained with all seeds"
        raise InputError("margin", asked.margin, rule)
    run = open_run(args.run, args.storage)
    if args.front and asked is not None and asked.seeds is not None:
        status = confirm_front(read_search(run), args, asked.seeds, command(*args.typed))
        if status != DONE:
            return status
    elif asked is not None:
        status = confirm(read_search(run), args, top, asked, command(*args.typed))
        if status != DONE:
            return status
    from analysis.winner.ranking import summary
    from analysis.winner.render_ranking import render

    search = read_search(run)
    print_result(summary(search, top=top), args.json, render)
    if asked is not None and not args.front and (more := to_tell(search, asked)):
        say(more)
    return DONE


def export(args: argparse.Namespace) -> int:
    trial = None if args.trial is None else read_whole("trial", args.trial, Range(0, 10**7))
    most = None if args.at is None else check_integer("at", read_count("at", args.at), COUNTED)
    if trial is not None and most is not None:
        raise InputError("at", args.at, "cannot stand beside `trial`, which names the trial itself")
    opset = read_opset(args)
    check_out(Path(args.out)) if args.force else check_new(Path(args.out))
    search = read_search(open_run(args.run, args.storage))
    confirmed = None
    if most is not None:
        from analysis.winner.size_front import best_within

        point = search.front and search.front.within(most)
        if search.front and point:
            confirmed = search.front.alone(point.candidate.trial)
            say(f"{confirmed.why}: its mean is the best of at most {most:,} parameters")
        else:
            trial = best_within(search, most)
            say(f"trial {trial} is the first of the ranking with at most {most:,} parameters")
    from analysis.winner.export import export_best
    from analysis.winner.render_export import render

    packed = export_best(
        search, Path(args.out), trial=trial, confirmed=confirmed, opset=opset, demo=args.demo
    )
    print_result(packed, args.json, render)
    say(f"to train it again and compare: {verify_command(args.out)}")
    if args.demo:
        say(f"to classify a picture in a browser: {shlex.join(['cd', args.out])} && {SERVE}")
        say(f"then open {ADDRESS}{DEMO}")
    return DONE
