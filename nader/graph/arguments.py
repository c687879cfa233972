"""Reads one operation, ``Conv2d(out_channels=C/4, kernel_size=3)``: its operator and its arguments."""

from __future__ import annotations

import difflib
import re
from typing import TypeAlias

from nader.graph.block import Argument, print_argument
from nader.graph.errors import GraphError, ProblemCode
from nader.graph.expression import Expression, ExpressionError, expression
from nader.graph.operators import ALIASES, INSTEAD, OPERATORS, PARAMETER_ALIASES, Kind, Operator, Parameter

MAX_ARGUMENTS = 16
MAX_OPERATION = 1_000

_NAME = re.compile(r"[A-Za-z_][\w. ]*", re.ASCII)
_KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.*)", re.ASCII | re.DOTALL)
_INPUTS = re.compile(r"(?:input|output)[_ ]?\d+", re.IGNORECASE)

Notes: TypeAlias = list[tuple[str, str]]
"""(what was written, how it was read)."""


class ArgumentError(GraphError):
    """An operation that cannot be read: its category and what would be right."""

    def __init__(self, code: ProblemCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def read_operation(text: str) -> tuple[str, tuple[tuple[str, Argument], ...], Notes]:
    """Operator name, arguments in signature order, and notes; ArgumentError if it is none."""
    if len(text) > MAX_OPERATION:
        raise ArgumentError(
            ProblemCode.SIZE_LIMIT, f"The operation is longer than {MAX_OPERATION} characters."
        )
    notes: Notes = []
    stripped = text.strip().rstrip(",").strip()
    if stripped != text.strip():
        notes.append((text.strip()[:60], stripped[:60]))
    name, opened, rest = stripped.partition("(")
    name = name.strip()
    if not _NAME.fullmatch(name) or (opened and not rest.endswith(")")):
        message = f"{text[:60]!r} is not an operation."
        raise ArgumentError(ProblemCode.SYNTAX, message, "Write operation or operation(arguments).")
    operator = _operator(name, notes)
    pieces = _split(rest[:-1])
    if opened and not pieces:
        notes.append((stripped[:60], operator.name))
    if len(pieces) > MAX_ARGUMENTS:
        raise ArgumentError(ProblemCode.SIZE_LIMIT, f"The operation has more than {MAX_ARGUMENTS} arguments.")
    if operator.parameters and operator.parameters[0].kind is Kind.LIST:
        args = _list_argument(operator, pieces, notes)
    else:
        args = _arguments(operator, pieces, notes)
    return operator.name, args, notes


def _operator(written: str, notes: Notes) -> Operator:
    name = written.strip()
    for prefix in ("torch.nn.functional.", "torch.nn.", "torch.", "nn.", "F."):
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    found = OPERATORS.get(name) or OPERATORS.get(
        ALIASES.get(name.lower().replace("_", "").replace(" ", ""), "")
    )
    if found is None:
        hint = _hint(name)
        raise ArgumentError(ProblemCode.UNKNOWN_OPERATOR, f"{name[:40]!r} is not an operation.", hint)
    if found.name != written:
        notes.append((written, found.name))
    return found


def _hint(name: str) -> str:
    """What could be written in the place of an unknown operation."""
    if _INPUTS.fullmatch(name):
        return "A block has one input, written input, and one output, written output."
    instead = INSTEAD.get(name.lower().replace("_", ""))
    if instead:
        return instead
    close = difflib.get_close_matches(name[:40].lower(), ALIASES, n=1, cutoff=0.7)
    meant = f"Did you mean {ALIASES[close[0]]}? " if close else ""
    return f"{meant}The operations are {', '.join(OPERATORS)}."


def _split(text: str) -> list[str]:
    """The arguments between the outermost commas."""
    pieces, depth, start = [], 0, 0
    for at, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                raise ArgumentError(
                    ProblemCode.SYNTAX, "The parentheses do not match.", "Close each one once."
                )
        elif character == "," and depth == 0:
            pieces.append(text[start:at].strip())
            start = at + 1
    if depth:
        raise ArgumentError(ProblemCode.SYNTAX, "A parenthesis is not closed.", "Close each one once.")
    pieces.append(text[start:].strip())
    if pieces and not pieces[-1]:
        pieces.pop()
    if any(not piece for piece in pieces):
        raise ArgumentError(ProblemCode.SYNTAX, "An argument is empty.", "Remove the extra comma.")
    return pieces


def _arguments(operator: Operator, pieces: list[str], notes: Notes) -> tuple[tuple[str, Argument], ...]:
    given: dict[str, Argument] = {}
    keywords_begun = False
    if len(operator.parameters) == 1 and operator.parameters[0].kind is Kind.DIMS:
        pieces = _joined_dims(pieces, notes)
    for position, piece in enumerate(pieces):
        keyword = _KEYWORD.fullmatch(piece)
        if keyword:
            keywords_begun = True
            parameter = _parameter(operator, keyword.group(1), keyword.group(2), notes)
            if parameter is None:
                continue
            value_text = keyword.group(2)
        else:
            if keywords_begun:
                message = f"{piece[:40]!r} stands after a named argument."
                raise ArgumentError(
                    ProblemCode.ARGUMENT, message, f"Name every argument: {operator.signature}."
                )
            if position >= len(operator.parameters):
                most = _count(len(operator.parameters), "argument")
                message = f"{operator.name} takes {most}, got {len(pieces)}."
                raise ArgumentError(ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
            parameter, value_text = operator.parameters[position], piece
            notes.append((piece[:60], f"{parameter.name}={piece[:60]}"))
        if parameter.name in given:
            raise ArgumentError(ProblemCode.ARGUMENT, f"{parameter.name} is given twice.", "Give it once.")
        given[parameter.name] = _value(operator, parameter, value_text, notes)
    for parameter in operator.parameters:
        if parameter.name not in given and parameter.default is None:
            message = f"{operator.name} needs {parameter.name}."
            raise ArgumentError(ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
    return tuple((p.name, given[p.name]) for p in operator.parameters if p.name in given)


def _joined_dims(pieces: list[str], notes: Notes) -> list[str]:
    """``mean(2, 3)`` names two dimensions: read as ``mean((2,3))``."""
    plain = [piece for piece in pieces if not _KEYWORD.fullmatch(piece)]
    if len(plain) < 2 or not all(re.fullmatch(r"-?\s*\d+", piece) for piece in plain):
        return pieces
    joined = f"({','.join(plain)})"
    return [joined, *(piece for piece in pieces if _KEYWORD.fullmatch(piece))]


def _parameter(operator: Operator, name: str, value: str, notes: Notes) -> Parameter | None:
    """The parameter that a keyword names; None for a keyword that changes nothing (with a note)."""
    found = operator.parameter(name)
    if found is not None:
        return found
    found = operator.parameter(PARAMETER_ALIASES.get(name.lower(), name.lower()))
    if found is not None:
        notes.append((f"{name}=", f"{found.name}="))
        return found
    if name == "padding" and operator.parameter("kernel_size"):
        notes.append((f"padding={value[:20]}", "nothing: padding is chosen so that stride 1 keeps the size"))
        return None
    if name == "keepdim" and operator.name in ("mean", "max", "sum"):
        if value.strip() in ("True", "true", "1"):
            notes.append((f"keepdim={value.strip()}", "nothing: the dimension always stays, with size 1"))
            return None
        message = (
            f"{operator.name} always keeps the dimension, with size 1; keepdim={value[:20]} is not available."
        )
        raise ArgumentError(
            ProblemCode.ARGUMENT, message, "Leave keepdim out and remove the dimension by reshape."
        )
    hint = (
        f"Write {operator.signature}." if operator.parameters else f"Write {operator.name} without arguments."
    )
    raise ArgumentError(ProblemCode.ARGUMENT, f"{operator.name} has no argument {name[:40]!r}.", hint)


def _list_argument(operator: Operator, pieces: list[str], notes: Notes) -> tuple[tuple[str, Argument], ...]:
    parameter = operator.parameters[0]
    if len(pieces) == 1:
        inner = pieces[0]
        keyword = _KEYWORD.fullmatch(inner)
        if keyword:
            named = _parameter(operator, keyword.group(1), keyword.group(2), notes)
            inner = keyword.group(2) if named else inner
        unwrapped = _unwrap(inner)
        if keyword or unwrapped is not None:
            pieces = _split(unwrapped) if unwrapped is not None else [inner]
            notes.append((f"{operator.name}(...)", f"{operator.name}({','.join(pieces)})"[:80]))
    if not pieces:
        raise ArgumentError(
            ProblemCode.ARGUMENT, f"{operator.name} needs sizes.", f"Write {operator.signature}."
        )
    for piece in pieces:
        if _KEYWORD.fullmatch(piece):
            message = f"{operator.name} takes no named argument, got {piece[:40]!r}."
            raise ArgumentError(ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
    items = tuple(_expression(operator, parameter, piece, notes) for piece in pieces)
    if parameter.name == "dims":
        _check_dims(operator, items)
    return ((parameter.name, items),)


def _unwrap(text: str) -> str | None:
    """The inside of one pair of brackets round the whole text (with a comma inside, if round); else None."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("()", "[]"):
        return None
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and at < len(text) - 1:
            return None
    inner = text[1:-1]
    return inner if text[0] == "[" or len(_split(inner)) > 1 or inner.rstrip().endswith(",") else None


def _value(operator: Operator, parameter: Parameter, text: str, notes: Notes) -> Argument:
    inner = _unwrap(text)
    if inner is None:
        value = _expression(operator, parameter, text, notes)
        if parameter.kind in (Kind.DIM, Kind.DIMS):
            _check_dims(operator, (value,))
        elif parameter.kind is Kind.PROBABILITY and not (value.op == "number" and value.value < 1):
            message = f"{parameter.name} must be a number from 0 up to, not including, 1; got {value}."
            raise ArgumentError(ProblemCode.ARGUMENT, message, "Write DropPath(prob=0.2).")
        return value
    if parameter.kind not in (Kind.PAIR, Kind.DIMS):
        message = f"{parameter.name} takes {parameter.kind.value}, got {text[:40]}."
        raise ArgumentError(ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
    items = tuple(_expression(operator, parameter, piece, notes) for piece in _split(inner))
    if parameter.kind is Kind.DIMS:
        _check_dims(operator, items)
    elif len(items) != 2:
        message = f"{parameter.name} takes one size or a pair, got {len(items)}."
        raise ArgumentError(
            ProblemCode.ARGUMENT, message, f"Write {parameter.name}=3 or {parameter.name}=(3,1)."
        )
    if text.strip()[0] == "[":
        notes.append((text[:60], print_argument(items)))
    return items


def _check_dims(operator: Operator, items: tuple[Expression, ...]) -> None:
    for item in items:
        if item.constant is None or (item.value.denominator != 1):
            message = f"{operator.name} takes dimensions as plain numbers, got {item.text[:40]}."
            raise ArgumentError(
                ProblemCode.ARGUMENT, message, "Number the dimensions from 0; -1 is the last."
            )
    if not items:
        raise ArgumentError(
            ProblemCode.ARGUMENT, f"{operator.name} needs a dimension.", f"Write {operator.signature}."
        )


_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "·": "*"})


def _expression(operator: Operator, parameter: Parameter, text: str, notes: Notes) -> Expression:
    plain = text.translate(_SIGNS)
    if plain != text:
        notes.append((text[:60], plain[:60]))
    try:
        value = expression(plain)
    except ExpressionError as error:
        message = f"{parameter.name}: {error}."
        raise ArgumentError(
            ProblemCode.SYNTAX, message, "Use numbers, B, C, dim, H, W, + - * / // ()."
        ) from error
    if value.text != "".join(plain.split()):  # letters of another case, batch, 1.0, +1, (C)
        notes.append((plain.strip()[:60], value.text[:60]))
    if "B" in value.variables and operator.name not in ("reshape", "repeat"):
        message = (
            f"{parameter.name}={value} depends on the batch size B, which only reshape and repeat may use."
        )
        raise ArgumentError(ProblemCode.BATCH, message, "Use C, dim, H, W or a number.")
    return value


def _count(number: int, noun: str) -> str:
    return "no arguments" if number == 0 else f"at most {number} {noun}{'s' if number != 1 else ''}"
