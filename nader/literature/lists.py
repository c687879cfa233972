"""Import of a list of inspirations that another reading made: JSON entries `{id, paper_id, inspiration}`."""

import json
from pathlib import Path
from typing import Any

from nader.literature.clean import one_line
from nader.literature.errors import InspirationListError, SourceError
from nader.literature.files import read_table_text
from nader.literature.papers import Inspiration, Paper

_SHOWN = 5


def is_inspiration_list(path: Path) -> bool:
    """Whether a JSON file is a list of inspirations and not a table of papers; False for what is no JSON."""
    try:
        data = _load(path)
    except (InspirationListError, SourceError):
        return False
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and "inspiration" in data[0]


def load_inspirations(path: Path, name: str | None = None) -> list[Inspiration]:
    """The inspirations of a JSON list, in its order; `name` (else the file's) marks ids and references.

    An entry needs `inspiration` (text), `id` and `paper_id`; it may have `title`, `year`, `ref`, `url` of its
    paper, `section` and `page`. Raises InspirationListError that lists the first faults with their entries.
    """
    name = name or path.stem
    try:
        data = _load(path)
    except SourceError as error:
        raise InspirationListError(str(error)) from error
    if not isinstance(data, list):
        raise InspirationListError(f"{path.name}: expected a JSON list of inspirations, found {_kind(data)}.")
    if not data:
        raise InspirationListError(f"{path.name}: the list is empty.")
    faults: list[str] = []
    inspirations: list[Inspiration] = []
    seen: dict[str, int] = {}
    for number, entry in enumerate(data, start=1):
        fault = _fault(entry)
        if fault is None and (first := seen.setdefault(str(entry["id"]), number)) != number:
            fault = f"id {entry['id']!r} is that of entry {first} too"
        if fault is None:
            try:
                inspirations.append(_inspiration(entry, name))
            except ValueError as error:
                fault = one_line(str(error))[:200]
        if fault is not None:
            faults.append(f"entry {number}: {fault}")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InspirationListError(f"{path.name}: {'; '.join(faults[:_SHOWN])}{more}.")
    return inspirations


def _load(path: Path) -> Any:
    text = read_table_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InspirationListError(f"{path.name} is not JSON: {error}.") from error


def _fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"expected an object, found {_kind(entry)}"
    for key in ("id", "paper_id"):
        if isinstance(entry.get(key), bool) or not isinstance(entry.get(key), int | str) or entry[key] == "":
            return f"`{key}` must be a number or a text"
    text = entry.get("inspiration")
    if not isinstance(text, str) or not one_line(text):
        return "`inspiration` must be a text that is not empty"
    return None


def _inspiration(entry: dict[str, Any], name: str) -> Inspiration:
    number = one_line(str(entry["paper_id"]))
    paper = Paper(
        title=entry.get("title") or f"paper {number} of {name}",
        year=entry.get("year"),
        ref=entry.get("ref") or f"{name}#{number}",
        url=entry.get("url"),
    )
    return Inspiration(
        id=f"{name}/{one_line(str(entry['id']))}",
        text=entry["inspiration"],
        paper=paper,
        section=entry.get("section"),
        page=entry.get("page"),
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
