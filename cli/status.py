"""``status`` and ``list``: how one search stands, and which there are."""

from __future__ import annotations

import argparse
from typing import Any

from analysis.suggested_commands import SearchCommands
from cli.exit_codes import DONE
from cli.flags import add_storage_flag
from cli.output import add_json_flag, print_result
from vgg6.tuning.run.driver_lock import is_starting
from vgg6.tuning.run.folder import named_below, open_run
from vgg6.tuning.run.list_searches import render as render_list
from vgg6.tuning.run.list_searches import searches_in
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.status import render, starting_status, status_of


def add_commands(add: Any) -> None:
    p = add("status", status, "say how a search stands, running or not")
    p.add_argument(
        "run", metavar="RUN", nargs="?",
        help="a search: its name, its folder or its storage URI (default: list all)",
    )  # fmt: skip
    add_storage_flag(p, "where names are looked up")
    add_json_flag(p)
    p = add("list", list_searches, "list the searches of a storage, the newest first")
    add_storage_flag(p, "where searches are kept")
    add_json_flag(p)


def status(args: argparse.Namespace) -> int:
    if args.run is None:
        return list_searches(args)
    coming = named_below(args.run, args.storage)
    if is_starting(coming):
        print_result(starting_status(coming.name), args.json, render)
        return DONE
    search = read_search(open_run(args.run, args.storage))
    commands = SearchCommands(search.folder)
    words = commands.resume(), commands.best("--confirm")
    print_result(status_of(search), args.json, lambda found: render(found, *words))
    return DONE


def list_searches(args: argparse.Namespace) -> int:
    found = searches_in(args.storage)
    print_result(found, args.json, lambda found: render_list(found, args.storage))
    return DONE
