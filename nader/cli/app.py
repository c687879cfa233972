"""The front door: puts the commands together, and turns every error into one sentence and an exit status.

Start-up: a command's module is imported when that command is called, so that `nader log` does not wait for
what `nader check` needs; the list of all commands imports them all.
"""

import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.text import Text

from nader import __version__
from nader.cli.failures import explain
from nader.cli.logging import choose
from nader.cli.output import clean, stderr

_CAMPAIGNS, _LOOKING, _LOG, _BLOCKS, _SETUP = "Campaigns", "Looking", "The log", "Blocks", "Setting up"
_COMMANDS = {
    "run": _CAMPAIGNS,
    "resume": _CAMPAIGNS,
    "fork": _CAMPAIGNS,
    "retrain": _CAMPAIGNS,
    "reflect": _CAMPAIGNS,
    "read": _CAMPAIGNS,
    "inbox": _CAMPAIGNS,
    "answer": _CAMPAIGNS,
    "runs": _LOOKING,
    "tree": _LOOKING,
    "show": _LOOKING,
    "trace": _LOOKING,
    "why": _LOOKING,
    "diff": _LOOKING,
    "cost": _LOOKING,
    "export": _LOOKING,
    "log": _LOG,
    "verify": _LOG,
    "rebuild": _LOG,
    "export-log": _LOG,
    "import-log": _LOG,
    "vacuum": _LOG,
    "check": _BLOCKS,
    "draw": _BLOCKS,
    "doctor": _SETUP,
    "settings": _SETUP,
    "data": _SETUP,
}
"""Every command and the panel of the help page it stands in, in the order of that page."""
_EPILOG = (
    "`nader COMMAND --help` explains a command. Results go to standard output, errors and diagnostics to "
    "standard error. Exit status: 0 done; 1 done, and the answer is no; 2 a mistake; 3 a fault of nader."
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"nader {__version__}")
        raise typer.Exit


def front(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Detailed diagnostics, and a traceback with any error; may stand anywhere."
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file", help="Write diagnostics to this file, as JSON lines, instead of standard error."
        ),
    ] = None,
) -> None:
    """Language-model agents that redesign neural-network blocks, on a log you can audit, resume, replay
    and fork.

    Start with `nader run`: it needs no key, no GPU and no network. Then look with `nader tree`, `nader
    show best` and `nader log`.
    """
    choose(debug=debug, file=log_file)


def build(names: Iterable[str]) -> typer.Typer:
    """The command line with the named commands."""
    app = typer.Typer(
        name="nader",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EPILOG,
    )
    app.callback()(front)
    for name in names:
        module = import_module(f"nader.cli.{name.replace('-', '_')}")
        command = getattr(module, name.replace("-", "_"))
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=_COMMANDS[name])
        else:
            app.command(name, rich_help_panel=_COMMANDS[name])(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; raises nothing."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    if debug:  # wherever it stands, it belongs to the front door
        words = ["--debug", *(word for word in words if word != "--debug")]
    called = next((word for word in words if word in _COMMANDS), None)
    _show_what_it_can(sys.stdout)
    try:
        status = build([called] if called else ["settings"] if words == ["--version"] else _COMMANDS)(
            words, prog_name="nader", standalone_mode=False
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # click leaves with 1 then, which says "no" here
            _silence_stdout()
            return 0
        return leaving.code if isinstance(leaving.code, int) else 0
    except BaseException as error:
        sentence, status = explain(error)
        if debug:
            stderr().print_exception()
        if sentence:
            said = Text.assemble(("error: ", "bold red"), clean(sentence, lines=True))
            stderr().print(said, soft_wrap=True)
        return status


def _show_what_it_can(stream: TextIO) -> None:
    """A character that a terminal or a pipe has no code for becomes `?`, not the end of a campaign."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


def _silence_stdout() -> None:
    """The reader of our output has gone (`nader log | head`): let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
