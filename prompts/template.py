"""Prompt templates: Markdown files with front matter, and the strict rendering of their variables."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from prompts.errors import PromptError
from prompts.forms import ANSWERS
from prompts.message import Message
from prompts.tags import wrap

NAMES = (
    "judge_relevance",
    "extract_inspirations",
    "rank_inspirations",
    "propose_freely",
    "modify_cell",
    "design_stem_and_downsample",
    "repair",
    "reflect_invalid",
    "reflect_loss",
    "reflect_repair",
    "reflect_success",
    "judge_modification",
    "direct_code",
)
"""Every template, in the order a campaign meets them."""

EARLIER: dict[str, tuple[frozenset[str], ...]] = {
    "extract_inspirations": (frozenset({"title", "section", "maximum"}),),
    "repair": (frozenset({"language", "role", "draft", "problems"}),),
}
"""The variables that earlier versions of a template had. One's own template that has them still does, in a
folder and in logs already written.
"""

_PLACEHOLDER = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")
_KEYS = ("name", "version", "purpose", "variables", "answer")


@dataclass(frozen=True)
class Template:
    """A prompt with holes.

    `variables` are exactly the holes; `answer` names the form of the answer (a key of `prompts.ANSWERS`);
    `digest` is the SHA-256 of the file's text and is recorded with every call.
    """

    name: str
    version: int
    purpose: str
    variables: tuple[str, ...]
    answer: str
    system: str
    user: str
    digest: str
    unused: tuple[str, ...] = ()
    """Variables that the agents fill and one's own template, of an earlier version, has no place for."""

    def render(self, **values: str | int | float | Fraction) -> list[Message]:
        """The messages with every variable in a tag of its own.

        Raises PromptError, naming them, where variables are missing or not of this template.
        """
        missing = [name for name in self.variables if name not in values]
        unknown = [name for name in values if name not in self.variables and name not in self.unused]
        if missing or unknown:
            told = [f"missing {', '.join(missing)}"] if missing else []
            told += [f"unknown {', '.join(sorted(unknown))}"] if unknown else []
            raise PromptError(
                f"prompt {self.name}: {'; '.join(told)}. Its variables are {', '.join(self.variables)}."
            )
        system = f"{self._fill(self.system, values)}\n\nTask: {self.name}"
        return [
            Message(role="system", content=system),
            Message(role="user", content=self._fill(self.user, values)),
        ]

    def _fill(self, text: str, values: dict[str, str | int | float | Fraction]) -> str:
        # Text that comes in through a variable is never scanned for placeholders.
        return "".join(
            literal if name is None else _value(name, values[name], inline=inline)
            for literal, name, inline in _parts(text)
        )


@lru_cache(maxsize=128)
def _parts(text: str) -> tuple[tuple[str, str | None, bool], ...]:
    """A template's text as (literal, None, False) and ("", variable, whether it stands in a line with other
    text).
    """
    found: list[tuple[str, str | None, bool]] = []
    for number, line in enumerate(text.split("\n")):
        inline = _PLACEHOLDER.fullmatch(line.strip()) is None
        pieces = _PLACEHOLDER.split(line)
        found.append(("\n" * (number > 0) + pieces[0], None, False))
        for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
            found += [("", name, inline), (literal, None, False)]
    return tuple(found)


def _value(name: str, value: str | int | float | Fraction, *, inline: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise PromptError(f"variable {name} must be text or a number, not {type(value).__name__}.")
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return wrap(name, text if text.strip() else "(none)", inline=inline)


@cache
def load(name: str, folder: Path | None = None) -> Template:
    """The template of that name; the folder's `NAME.md` in place of the built-in one, where it is there.

    One's own must have the built-in one's variables and answer form, as the agents that use it do not change.
    Raises PromptError.
    """
    if name not in NAMES:
        raise PromptError(f"there is no prompt {name!r}; there are {', '.join(NAMES)}.")
    template = _parse(name, _read(name, resources.files("prompts").joinpath(f"{name}.md")))
    if folder is None or not (folder / f"{name}.md").exists():
        return template
    return _like(template, _parse(name, _read(name, folder / f"{name}.md")))


@cache
def load_text(name: str, text: str) -> Template:
    """The template that a text holds, in place of the built-in one of that name; as `load` with a folder."""
    return _like(load(name), _parse(name, text))


def _like(template: Template, own: Template) -> Template:
    name = template.name
    variables = frozenset(own.variables)
    if variables != frozenset(template.variables) and variables not in EARLIER.get(name, ()):
        raise PromptError(f"prompt {name}: its variables must be {', '.join(template.variables)}.")
    if own.answer != template.answer:
        raise PromptError(f"prompt {name}: its answer form must be {template.answer!r}, not {own.answer!r}.")
    return replace(own, unused=tuple(v for v in template.variables if v not in variables))


def _read(name: str, file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt {name}: cannot read its file: {error}") from error


def _parse(name: str, text: str) -> Template:
    head, body = _front_matter(name, text)
    system, user = _speakers(name, body)
    holes = tuple(dict.fromkeys(_PLACEHOLDER.findall(system + "\n" + user)))
    variables = tuple(v.strip() for v in head["variables"].split(",") if v.strip())
    if set(holes) != set(variables):
        raise PromptError(
            f"prompt {name}: front matter declares {', '.join(variables)}; the text uses {', '.join(holes)}."
        )
    if head["name"] != name:
        raise PromptError(f"prompt {name}: its front matter calls it {head['name']!r}.")
    if head["answer"] not in ANSWERS:
        raise PromptError(
            f"prompt {name}: unknown answer form {head['answer']!r}; there are {', '.join(ANSWERS)}."
        )
    if not head["version"].isdigit():
        raise PromptError(f"prompt {name}: version must be a whole number, not {head['version']!r}.")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Template(
        name, int(head["version"]), head["purpose"], variables, head["answer"], system, user, digest
    )


def _front_matter(name: str, text: str) -> tuple[dict[str, str], str]:
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise PromptError(f"prompt {name}: the file must begin with front matter between two lines '---'.")
    head: dict[str, str] = {}
    for line in parts[1].splitlines():
        key, colon, value = line.partition(":")
        if not colon or key.strip() not in _KEYS:
            raise PromptError(f"prompt {name}: front matter takes {', '.join(_KEYS)}; not {line.strip()!r}.")
        head[key.strip()] = value.strip()
    absent = [key for key in _KEYS if not head.get(key)]
    if absent:
        raise PromptError(f"prompt {name}: front matter lacks {', '.join(absent)}.")
    return head, parts[2]


def _speakers(name: str, body: str) -> tuple[str, str]:
    before, mark, rest = body.partition("# System\n")
    system, mark2, user = rest.partition("\n# User\n")
    if before.strip() or not mark or not mark2 or not system.strip() or not user.strip():
        raise PromptError(f"prompt {name}: the body must be '# System', its text, '# User', its text.")
    return system.strip(), user.strip()
