"""`nader settings`: every setting of a campaign, its value under a preset, and where the value comes from."""

import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from nader.cli.options import JsonOption
from nader.cli.output import clean, indented, print_json, stdout
from nader.errors import SettingsError
from nader.settings import PRESETS, CampaignSettings, describe, load_settings

Row = tuple[str, str, Any, Any, str]
_CHOICE = re.compile(r"'([^']+)'")


def settings(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Show only settings that mention all these words."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Values of this TOML file.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help=f"Values of a preset: {', '.join(PRESETS)}.")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print a commented TOML file to start from.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List every setting: its key, its value, what it does, and where the number comes from.

    A value goes on the command line as `nader run --set KEY=VALUE`, or into a file as TOML: `nader
    settings --toml > mine.toml`, then `nader run mine.toml`.
    """
    rows = list(_matching(_rows(load_settings(file, preset)), words or []))
    if not rows:
        raise SettingsError(f"no setting mentions {' and '.join(repr(clean(word)) for word in words or [])}")
    if as_json:
        keys = ("key", "type", "default", "value", "description")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    elif toml:
        if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8")  # as TOML files are, whatever the terminal shows
        print("\n".join(_toml(rows, preset or "digits")))
    else:
        _print(rows)


def _rows(chosen: CampaignSettings) -> Iterator[Row]:
    """Every setting with the value that the chosen settings give it."""
    for key, kind, default, description in describe():
        value: Any = chosen
        for part in key.split("."):
            value = getattr(value, part)
        yield key, kind, default, value, description


def _matching(rows: Iterable[Row], words: list[str]) -> Iterator[Row]:
    for row in rows:
        text = f"{row[0]} {row[4]}".lower()
        if all(word.lower() in text for word in words):
            yield row


def _print(rows: list[Row]) -> None:
    console = stdout()
    section = ""
    for key, kind, default, value, description in rows:
        named = key.rpartition(".")[0]
        if named != section:
            section = named
            console.print(Text(f"\n{section}" if section else "", style="bold"))
        line = Text.assemble((key, "cyan"), " = ", _value(value))
        if value != default:
            line.append(f"  (default {_value(default)})", style="yellow")
        console.print(line, soft_wrap=True)
        choices = f" One of {', '.join(_CHOICE.findall(kind))}." if "Literal[" in kind else ""
        indented(console, Text(description + choices, style="dim"), 4)


def _toml(rows: list[Row], preset: str) -> Iterator[str]:
    """A TOML file with every setting: those that the preset and the defaults agree on are commented out."""
    of_preset = {row[0]: row[3] for row in _rows(load_settings(preset=preset))}
    yield "# Settings of a campaign, for `nader run THIS_FILE`. A line without # is not the default."
    yield f'preset = "{preset}"\n'
    section = ""
    for key, _kind, default, value, description in rows:
        named, _, name = key.rpartition(".")
        if named != section:
            section = named
            yield f"\n[{section}]"
        yield f"# {description}"
        yield f"{'# ' if value == default == of_preset[key] else ''}{name} = {_value(value)}"


def _value(value: Any) -> str:
    """A value as TOML writes it; an absent one as a word."""
    if value is None:
        return "none"
    if isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    return repr(value)
