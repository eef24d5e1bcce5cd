"""The command line of tune_vgg6: one module a group of commands.

Nothing heavy is imported before what the user typed is checked.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cli import doctor, packages, reports, search, status, winner
from cli.environment import check_current_folder, let_warnings_be_warnings
from cli.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from cli.parser import Parser
from cli.streams import prepare_streams
from vgg6.common.checks import InputError
from vgg6.common.interrupts import ends_as_ctrl_c
from vgg6.common.say import say
from vgg6.tuning.cluster.connect import ClusterLost, quiet_environment

ABOUT = "Hyperparameter search for a small image classifier, from one machine to a Ray cluster."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 2 bad input, 130 interrupted, 1 else."""
    quiet_environment()
    prepare_streams()
    let_warnings_be_warnings()
    words = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    try:
        with ends_as_ctrl_c():
            check_current_folder()
            args = parser.parse_args(words)
            status = int(args.handler(args))
            sys.stdout.flush()  # here and not at exit: its reader may be gone
            return status
    except InputError as error:
        say(f"error: {parser.spelled(error, words)}")
        return BAD_INPUT
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except ClusterLost as lost:
        say(f"error: {lost}")
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return FAILED
    except OSError as error:  # a full disk, a folder that is gone or another user's: for a user
        say(f"error: {error}")
        return FAILED
    except ImportError as error:  # one is missing, or there is too little memory for it
        say(f"error: a library cannot be loaded: {error}. `doctor` says what is missing")
        return FAILED
    except MemoryError:
        say("error: no memory is left that this process may take")
        return FAILED


def build_parser() -> Parser:
    """All commands and flags. Values stay text: they are checked where their rules are."""
    parser = Parser(
        prog="tune_vgg6.py",
        description=ABOUT,
        allow_abbrev=False,
        epilog="COMMAND --help shows a command's flags. Exit status: 0 if all that was asked is"
        " done, 2 for bad input, 130 if interrupted, else 1.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, usage: str | None = None
    ) -> Any:
        command = subparsers.add_parser(
            name, help=text, description=text, usage=usage, allow_abbrev=False
        )
        command.set_defaults(handler=run)
        return command

    for group in (search, status, winner, packages, reports, doctor):
        group.add_commands(add)
    return parser
