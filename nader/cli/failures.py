"""From any exception to one sentence and an exit status: what a user sees instead of a traceback."""

import asyncio

from nader.cli.output import clean

INVALID = 1
"""What was asked was done, and the answer is no: an invalid block, a log that does not verify, a run that
failed."""
WRONG = 2
"""It could not be done, for a reason that a person can remove."""
BROKEN = 3
"""It could not be done, for a reason that lies in the program."""
STOPPED = 130
"""Stopped from the keyboard."""

_OURS = {"nader", "actors", "events", "store", "prompts"}


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence to print for an error (none for Ctrl-C), and the exit status."""
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError) or type(error).__name__ == "Abort":
        return "", STOPPED
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return explain(error.exceptions[0])
    if hasattr(error, "format_message"):
        return _usage(error)
    if _is_ours(error):
        return clean(error, lines=True) or type(error).__name__, getattr(error, "exit_status", WRONG)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return clean(f"{where}{error.strerror[:1].lower()}{error.strerror[1:]}"), WRONG
    if isinstance(error, ModuleNotFoundError):
        return f"this needs the Python package {error.name!r}, which is not installed", WRONG
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"something went wrong that should not have ({clean(what)}); run again with --debug to see where",
        BROKEN,
    )


def _is_ours(error: BaseException) -> bool:
    """Whether one of our packages defines the error: its text is then written for a person."""
    return any(cls.__module__.partition(".")[0] in _OURS for cls in type(error).__mro__)


def _usage(error: BaseException) -> tuple[str, int]:
    """A mistake on the command line; Typer's own text, with the page that helps."""
    message = clean(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    if not message:  # no command was named: the help page has been printed, and says it all
        return "", getattr(error, "exit_code", WRONG)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "nader"
    return (
        f"{message[:1].lower()}{message[1:]}{'' if message.endswith('?') else ';'} see {path} --help",
        getattr(error, "exit_code", WRONG),
    )
