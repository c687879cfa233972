"""No foreign text reaches a terminal as anything but text."""

import io
import json

import pytest
from rich.panel import Panel
from rich.text import Text

from nader.cli.output import (
    SafeConsole,
    clean,
    count,
    duration,
    indented,
    jsonable,
    mean_and_spread,
    money,
    percent,
    print_json,
    short,
    size,
    table,
)

HOSTILE = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "clear the screen": ("a\x1b[2J\x1b[Hb", "ab"),
    "title": ("\x1b]0;owned\x07x", "x"),
    "clipboard": ("\x1b]52;c;cm0gLXJmIC8=\x1b\\x", "x"),
    "hyperlink": ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
    "device control": ("\x1bP+q544e\x1b\\x", "x"),
    "one-byte CSI": ("\x9b31mx", "x"),
    "one-byte OSC, not ended": ("\x9dx", "x"),
    "reset": ("\x1bcx", "x"),
    "not ended": ("\x1b[", ""),
    "OSC not ended keeps what follows": ("\x1b]0;all the rest", "0;all the rest"),
    "backspace": ("abc\b\b\bxyz", "abcxyz"),
    "carriage return": ("safe\rrm", "saferm"),
    "bell, NUL, DEL": ("a\x07b\x00c\x7fd", "abcd"),
    "right to left": ("abc\u202e\u2066def\u2069", "abcdef"),
    "invisible tags": ("a\U000e0041\U000e0042b", "ab"),
    "lone surrogate": ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
    "nested": ("\x1b\x1b[31m[31mx", "[31mx"),
    "markup": ("[bold red]x[/] :boom:", "[bold red]x[/] :boom:"),
}


@pytest.mark.parametrize(("text", "harmless"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_made_harmless(text: str, harmless: str) -> None:
    assert clean(text) == harmless


@pytest.mark.parametrize(("text", "harmless"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_console_lets_no_control_character_through(text: str, harmless: str) -> None:
    for printed in (text, Text(text), Panel(Text(text)), _row(text)):
        file = io.StringIO()
        SafeConsole(file=file, width=200).print(printed)
        assert not [c for c in file.getvalue() if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]


def _row(text: str) -> object:
    made = table("heading \x1b[31m")
    made.add_row(text)
    return made


def test_cleaning_twice_changes_nothing_more() -> None:
    for text, _ in HOSTILE.values():
        assert clean(clean(text)) == clean(text)


def test_line_breaks_are_kept_only_where_asked() -> None:
    text = "one\r\n\ttwo\n\n\x1b[1mthree"
    assert clean(text) == "one two three"
    assert clean(text, lines=True) == "one\n    two\n\nthree"


def test_colours_of_our_own_still_work() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard", width=80)
    console.print(Text("fine", style="red"))
    assert "\x1b[31mfine" in file.getvalue()


def test_json_holds_control_characters_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "\x1b[31m\x9b\u202e", "nan": float("nan"), "set": {"b", "a"}})
    out = capsys.readouterr().out
    assert out.isascii() and "\x1b" not in out
    assert json.loads(out) == {"text": "\x1b[31m\x9b\u202e", "nan": None, "set": ["a", "b"]}


def test_numbers_of_numpy_become_plain() -> None:
    import numpy as np

    assert jsonable({"a": np.float32(0.5), "b": np.int64(3)}) == {"a": 0.5, "b": 3}


def test_in_a_pipe_a_line_stays_a_line() -> None:
    file = io.StringIO()
    indented(SafeConsole(file=file, width=40), Text("word " * 50), 4)
    assert file.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (percent(91.6877), "91.69 %"),
        (percent(None), "-"),
        (count(999), "999"),
        (count(96094), "96.1 k"),
        (count(1.35e6), "1.35 M"),
        (count(78.56e6), "78.6 M"),
        (count(None), "-"),
        (size(1 << 30), "1.0 GiB"),
        (size(12), "12 B"),
        (duration(0.04), "0.0 s"),
        (duration(59.6), "1 min 0 s"),
        (duration(3725), "1 h 2 min"),
        (duration(90000), "1 d 1 h"),
        (duration(None), "-"),
        (money(0.0), "$0.00"),
        (money(0.0123), "$0.0123"),
        (money(12.345), "$12.35"),
        (money(1.0, 2), "$1.00 + 2 calls of unknown price"),
        (money(1.0, 1), "$1.00 + 1 call of unknown price"),
        (mean_and_spread((90.0, 92.0)), "91.00 ± 1.41 %"),
        (mean_and_spread((90.0,)), "90.00 %"),
        (mean_and_spread(()), "-"),
        (mean_and_spread((None, None)), "-"),
        (mean_and_spread((90.0, None)), "-"),
        (short("a\nb  c", 10), "a b c"),
        (short("abcdefghij", 5), "abcd…"),
    ],
)
def test_figures_are_short_and_have_units(made: str, text: str) -> None:
    assert made == text
