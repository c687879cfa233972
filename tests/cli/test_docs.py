"""docs/commands.md promises keys: what is printed has just these, and every command is on the page."""

import re
from pathlib import Path
from typing import Any

import pytest

from nader.cli.app import _COMMANDS
from tests.cli.conftest import Nader
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")


def promised(start: str) -> set[str]:
    """The names in code type in the paragraph or table row that begins so."""
    line = next(part for part in re.split(r"\n\n|\n(?=\|)", PAGE) if part.startswith(start))
    return set(re.findall(r"`([a-z_]+)`", line))


def test_every_command_is_on_the_page() -> None:
    assert [name for name in _COMMANDS if f"`{name}`" not in PAGE and f"nader {name}" not in PAGE] == []


@pytest.mark.parametrize(
    "words",
    [
        ["runs"],
        ["tree"],
        ["show", "best"],
        ["trace", "best"],
        ["why", "best"],
        ["diff", "run-1", "other"],
        ["cost"],
        ["verify"],
        ["rebuild"],
        ["inbox"],
    ],
)
def test_every_key_that_is_printed_is_promised(nader: Nader, finished: Path, words: list[str]) -> None:
    told = nader(*words, "--json", "-w", finished).json
    names = (
        promised(f"| `{words[0]}`")
        | promised("**A candidate**")
        | promised("**An event**")
        | promised("**Spent**")
    )
    free = {"event", "settings", "recorded", "computed", "values", "retrainings", "agents", "models"}
    if words == ["cost"]:
        free.add("candidates")
    assert keys(told, free) <= names


def test_the_log_and_what_needs_no_run_keep_their_promises(nader: Nader, finished: Path) -> None:
    assert set(nader("log", "--json", "--full", "-w", finished).lines[0]) == promised("**An event**")
    for words in (["settings"], ["data", "status"], ["doctor", "-w", str(finished)]):
        names = promised(f"| `{' '.join(words[:2]) if words[0] == 'data' else words[0]}`")
        assert keys(nader(*words, "--json").json, {"info", "value", "default"}) <= names


def keys(value: Any, free: set[str]) -> set[str]:
    """Every key of nested JSON, but for what stands inside the `free` ones."""
    if isinstance(value, dict):
        inner = [keys(item, free) for key, item in value.items() if key not in free]
        return set(value).union(*inner)
    return set().union(*(keys(item, free) for item in value)) if isinstance(value, list) else set()
