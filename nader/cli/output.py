"""What is printed, and how: two consoles, and the one function that makes foreign text harmless.

Text in a log comes from models, papers and people. Nothing of it is ever read as Rich markup (both
consoles have it switched off), and no control character of it reaches a terminal: whoever prints it calls
`clean`, and a console cleans once more all that passes through it.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from statistics import fmean, stdev
from typing import IO, Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b\][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, hyperlinks, the clipboard
    r"|\x1b[PX^_][^\x1b\x9c\n]*(?:\x1b\\|\x9c)"  # device control, application commands
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks: with them a text reads otherwise
    "\U000e0000-\U000e007f]"  # invisible tags
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: object, *, lines: bool = False) -> str:
    """Foreign text without terminal sequences, control characters and invisible direction marks.

    Args:
        lines: keep line breaks (and tabs, as spaces); otherwise all of it becomes one line.
    """
    whole = str(text).replace("\r\n", "\n")
    whole = _CONTROLS.sub("", _SEQUENCES.sub("", whole))
    whole = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", whole)
    return whole.replace("\t", "    ") if lines else " ".join(whole.split())


_PIPE = 120


class SafeConsole(Console):
    """A console that reads no markup, paints nothing by itself, and lets no control character of a text
    through."""

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(file=file, stderr=stderr, markup=False, highlight=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control is None and text != "\n" and _CONTROLS.search(text):
                yield Segment(clean(text, lines=True), style)
            else:
                yield segment

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints; into a pipe without the blanks that fill a line up."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write("\n".join(line.rstrip(" ") for line in captured.get().split("\n")))


def stdout() -> SafeConsole:
    """The console of results: as wide as the terminal, or `_PIPE` columns where there is none.

    Made anew for each command, so that it sees the stream that is there now.
    """
    console = SafeConsole()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE
    return console


def stderr() -> SafeConsole:
    """The console of errors and notices."""
    return SafeConsole(stderr=True)


def print_json(value: object) -> None:
    """One JSON document on standard output: keys in the order given, control characters as escapes."""
    sys.stdout.write(json.dumps(jsonable(value), indent=2) + "\n")


def print_json_line(value: object) -> None:
    """One JSON document on one line, for streams."""
    sys.stdout.write(json.dumps(jsonable(value)) + "\n")
    sys.stdout.flush()


def jsonable(value: Any) -> Any:
    """Dataclasses, models, named tuples, paths and numpy numbers as plain JSON values; NaN and infinities as
    null.
    """
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):  # a named tuple
        return jsonable(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, bool) or value is None or isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Path):
        return str(value)
    return jsonable(value.item()) if hasattr(value, "item") else str(value)


def table(*columns: str | tuple[str, str], title: str = "") -> Table:
    """A plain table that stays readable in a pipe; a column is its heading, or (heading, justification).

    Columns justified right hold figures and are never broken over lines.
    """
    made = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title) if title else None, title_justify="left"
    )
    for column in columns:
        heading, justify = column if isinstance(column, tuple) else (column, "left")
        made.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=justify == "right")  # type: ignore[arg-type]
    return made


def print_table(console: Console, made: Table) -> None:
    """Print a table without the columns at its right end for which there is no room, and name them.

    Squeezed in, rich would cut figures off, and a figure that lacks its end is another figure.
    """
    left_out: list[str] = []
    roomy = console.options.update_width(1_000)
    while len(made.columns) > 2 and Measurement.get(console, roomy, made).minimum > console.width:
        left_out.insert(0, str(made.columns.pop().header))
    console.print(made)
    if left_out:
        console.print(Text(f"no room here for {', '.join(left_out)}; --json has all", style="dim"))


def facts(pairs: Iterable[tuple[str, RenderableType]]) -> Table:
    """Names and values side by side, without a frame."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value)
    return made


def heading(text: str) -> Text:
    """A heading within a command's output."""
    return Text(text, style="bold")


def indented(console: Console, text: Text, columns: int) -> None:
    """Print a text wrapped and moved in by some columns, without blanks at the ends of lines.

    Into a pipe it goes unwrapped, so that a line stays a line for `grep`.
    """
    if not console.is_terminal:
        console.print(Text(" " * columns).append_text(text), soft_wrap=True)
        return
    for line in text.wrap(console, max(20, console.width - columns)):
        line.rstrip()
        console.print(Text(" " * columns).append_text(line), soft_wrap=True)


def percent(value: float | None) -> str:
    """An accuracy in percent."""
    return "-" if value is None else f"{value:.2f} %"


def mean_and_spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation (of the sample) of accuracies in percent; none where one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(known) < len(values):
        return percent(known[0] if len(values) == len(known) == 1 else None)
    return f"{fmean(known):.2f} ± {stdev(known):.2f} %"


def number_of(number: int, noun: str) -> str:
    """A number with its noun, which takes an s but for one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def count(value: float | None) -> str:
    """A number of parameters, operations or tokens, in the unit that keeps it short."""
    if value is None:
        return "-"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return "-"
    for limit, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float | None) -> str:
    """A span of time, in at most two units."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for limit, unit, lower, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= limit:
            return f"{whole // limit} {unit} {whole % limit // lower} {small}"
    return f"{whole} s"


def money(value: float | None, unknown: int = 0) -> str:
    """US dollars; calls whose model has no known price are named beside it."""
    text = "-" if value is None else f"${value:.2f}" if value >= 0.1 or not value else f"${value:.4f}"
    return f"{text} + {number_of(unknown, 'call')} of unknown price" if unknown else text


def short(text: object, width: int) -> str:
    """Foreign text on one line, cut to `width` characters."""
    line = clean(text)
    return line if len(line) <= width else line[: max(1, width - 1)].rstrip() + "…"
