"""From an error to what the operator sees: ``error:``, ``fix:``, an exit code, never a traceback.

A traceback appears only for a fault of this program, with everything masked that may be personal.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

import click

from verifier.cli import talk
from verifier.errors import VerifierError

INTERRUPTED = 130
#: What a shell shows for a program that SIGPIPE ended, as in ``verifier user list | head``.
READER_LEFT = 128 + signal.SIGPIPE


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run the command line to its exit code. Every expected error is shown and answered here."""
    sys.excepthook = _show_fault
    try:
        _invoke(command, sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return _flushed(ended.exit_code)
    except BrokenPipeError:
        return _reader_left()
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        talk.error(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as interruption:
        # Whoever was interrupted may have said what becomes of the work.
        talk.say("; ".join(["interrupted", *map(str, interruption.args)]))
        return INTERRUPTED
    except VerifierError as error:
        talk.error(error.message, error.fix)
        return error.exit_code
    return 0


def _invoke(command: click.Command, arguments: Sequence[str]) -> None:
    if "_VERIFIER_COMPLETE" in os.environ:
        command.main(arguments, prog_name="verifier")  # a shell asks for completions
    # Not `command.main`: it answers a broken pipe and Ctrl-C in its own way.
    with command.make_context("verifier", list(arguments)) as context:
        command.invoke(context)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    return code


def _reader_left() -> int:
    """Whoever read our standard output has gone. Python flushes once more: that must not fail."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return READER_LEFT


def _usage(error: click.UsageError) -> int:
    path = error.ctx.command_path if error.ctx is not None else "verifier"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        talk.say(error.format_message())
    else:
        talk.error(error.format_message(), f"`{path} --help` shows how it is used.")
    return error.exit_code


def _show_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    from verifier.identity.mask import redact

    lines = traceback.format_exception(kind, error, trace)
    print(redact("".join(lines)), end="", file=sys.stderr)
    talk.error(
        f"this is a fault of the program ({kind.__name__})",
        "Please report it with the lines above; numbers in them are masked.",
    )
