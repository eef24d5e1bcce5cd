"""``report``, ``table``, ``insights`` and ``convert``: what came of a search, to read elsewhere."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from analysis.insights.evaluator_names import ADDITIVE, EVALUATORS
from analysis.results.output_formats import CONVERSIONS, check_table_file, conversion_target
from analysis.suggested_commands import pip_command
from cli.exit_codes import DONE
from cli.flags import add_run_argument, read_whole
from cli.output import add_json_flag, print_result
from vgg6.common.checks import InputError, Range, check_choice
from vgg6.common.files import check_target
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.tuning.run.folder import RunFolder, open_run
from vgg6.tuning.run.search import read_search


def add_commands(add: Any) -> None:
    p = add("report", report, "write a search's report: one HTML file, and PNG files if asked")
    add_run_argument(p)
    p.add_argument("--out", metavar="FILE.html", help="file to write (default: RUN/report.html)")
    p.add_argument("--png", metavar="DIR", help="write the figures and a summary.md there too")
    p.add_argument("--study", action="store_true", help="answer the study's questions in it")
    p.add_argument(
        "--also",
        nargs="+",
        default=[],
        metavar="RUN",
        help="with --study: searches whose trials are compared too",
    )
    p.add_argument("--watch", action="store_true", help="serve it here while the search runs")
    p.add_argument(
        "--port",
        default="8421",
        metavar="N",
        help="port of --watch; 0 takes a free one (default: 8421)",
    )
    p = add("insights", insights, "say what mattered, and what early stopping saved")
    add_run_argument(p)
    p.add_argument(
        "--evaluator",
        default=ADDITIVE,
        metavar="NAME",
        help=f"how importance is measured: {', '.join(EVALUATORS)} (default: {ADDITIVE})",
    )
    add_json_flag(p)
    p = add("table", table, "write all trials and epochs as a CSV or parquet table")
    add_run_argument(p)
    p.add_argument(
        "--out", metavar="FILE", help=".csv or .parquet file to write (default: print CSV)"
    )
    p.add_argument("--trials", action="store_true", help="one row a trial, not one an epoch")
    p = add("convert", convert, "write a search as TensorBoard or optuna-dashboard reads it")
    add_run_argument(p)
    p.add_argument("--to", required=True, metavar="NAME", help=" or ".join(CONVERSIONS))
    p.add_argument("--out", metavar="DIR", help="folder to write (default: below the run folder)")


def report(args: argparse.Namespace) -> int:
    run = open_run(args.run, args.storage)
    out = Path(args.out or (Path(run.path) / "report.html" if run.local else "report.html"))
    check_target("out", out)
    if out.is_dir():
        raise InputError("out", str(out), "is a folder: a report is a file")
    if args.png:
        from analysis.figures.figure_files import check_browser

        check_target("png", Path(args.png) / "summary.md")
        check_browser()
    port = read_whole("port", args.port, Range(0, 65535))
    if args.also and not args.study:
        raise InputError("also", args.also[0], "is compared for the study's questions: add `study`")
    also = [open_run(name, args.storage) for name in args.also]
    if args.watch and args.study:
        raise InputError("study", True, "cannot be served live with `watch`")
    if args.watch:
        serve_report(run, port)
    from analysis.report.gather_contents import answer_study, gather
    from analysis.report.page import write_report
    from analysis.report.summary_md import write_summary
    from analysis.study.questions import check_metric

    search = read_search(run)
    if args.study:
        check_metric(search)
    found = gather(search)
    if args.study:
        answer_study(found, [read_search(other) for other in also])
    write_report(found, out)
    print(f"report: {out}")
    if args.png:
        if why := write_summary(found, Path(args.png)):
            say(f"no PNG files: {why}; summary.md is there")
        print(f"summary: {Path(args.png) / 'summary.md'}")
    return DONE


def serve_report(run: RunFolder, port: int) -> None:
    """Serve the report of a search that may still run, until Ctrl-C."""
    from analysis.report.live_server import serve

    say("making the first page")
    server = serve(run, port)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    say("serving the report to this machine; Ctrl-C ends it")
    server.serve_forever()


def insights(args: argparse.Namespace) -> int:
    check_choice("evaluator", args.evaluator, EVALUATORS)
    from analysis.insights.insights import insights as gather
    from analysis.insights.insights import render

    tables = load_with_notes(args)
    print_result(gather(tables, args.evaluator), args.json, lambda found: render(tables, found))
    return DONE


def table(args: argparse.Namespace) -> int:
    if args.out:
        check_table_file(Path(args.out))
    from analysis.results.table_files import encoded, save

    tables = load_with_notes(args)
    rows = tables.trials if args.trials else tables.epochs
    if not args.out:
        sys.stdout.write(encoded(rows, ".csv").decode())
        return DONE
    save(rows, Path(args.out))
    what = "trial" if args.trials else "trial and epoch"
    say(f"{counted(len(rows), 'row')}, one a {what}: {args.out}")
    return DONE


def load_with_notes(args: argparse.Namespace) -> Any:
    """The tables of a search. What is to be known about them is said on standard error."""
    from analysis.results.search_tables import tables_of

    tables = tables_of(read_search(open_run(args.run, args.storage)))
    for note in tables.notes:
        say(note)
    return tables


def convert(args: argparse.Namespace) -> int:
    folder = open_run(args.run, args.storage)
    conversion_target(folder, args.to, args.out)
    from analysis.results.convert import convert as write

    target, command = write(read_search(folder), args.to, args.out)
    print(f"written to {target}; to look at it:\n  {command}")
    viewer = command.split()[0]
    if shutil.which(viewer) is None:
        print(f"{viewer} is not found here; to install it:\n  {pip_command(viewer)}")
    return DONE
