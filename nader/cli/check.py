"""`nader check`: is this block valid, what is wrong with it, and what does a network of it cost at each
width?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from nader.cli.blockfiles import Piece, read_pieces
from nader.cli.failures import INVALID
from nader.cli.options import JsonOption
from nader.cli.output import clean, count, indented, print_json, stdout, table
from nader.graph import (
    Block,
    Design,
    Problem,
    ProblemCode,
    Role,
    Site,
    Sites,
    SymmetryError,
    Verdict,
    base_design,
    cost_at,
    digest,
    verify,
)
from nader.graph import check as check_text
from nader.network import (
    Limits,
    NoWidthError,
    Skeleton,
    WidthChoice,
    costs,
    get_skeleton,
    search_width,
    sites_of,
    verify_design,
)

_SHOWN_WIDTHS = 12
_ALONE_WIDTHS, _ALONE_SIDE = (16, 32, 64, 128), 32
"""Where the cost of a block without a skeleton is shown: its channels C, and the sides of its map."""


@dataclass(frozen=True)
class CheckedBlock:
    """One block of a file, and what the verifier says of it."""

    piece: Piece
    verdict: Verdict
    widths: tuple[int, ...] | None = None
    """In a skeleton: the widths at which it works wherever it stands; None without a skeleton."""
    digest: str | None = None
    """In its role; None where it has problems."""
    cost: tuple[tuple[int, int, int], ...] = ()
    """Without a skeleton: (width, parameters, MACs) of the block alone."""
    other_scale: bool = False
    """A stem whose scale is not the skeleton's, beside one whose scale is."""

    @property
    def valid(self) -> bool:
        """Whether it works at some width of the skeleton or, without one, at every place it was tried at."""
        return bool(self.widths) if self.widths is not None else self.verdict.ok

    @property
    def only_scale(self) -> bool:
        """Whether it is a stem with nothing wrong but its scale."""
        scale = all(problem.code is ProblemCode.SCALE for problem in self.verdict.problems)
        return self.piece.role is Role.STEM and not self.valid and scale


@dataclass(frozen=True)
class NetworkCost:
    """A whole network by its width."""

    skeleton: str
    classes: int
    completed_with: str
    """The base design whose other blocks stand in for those that the file lacks; empty if it has all
    three."""
    widths: tuple[tuple[int, int, int], ...]
    """(width, parameters, MACs), for each width at which all blocks work."""
    candidates: int
    """Widths that the skeleton offers."""
    choice: WidthChoice | None
    refusal: str
    """Why no width is chosen, if none is."""


def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Block files; `-` reads standard input.")
    ],
    role: Annotated[
        Role | None, typer.Option("--role", help="What the blocks are for; else it follows from their names.")
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(
            "--skeleton",
            "-s",
            help="Check at the places and widths of this skeleton, and show cost by width.",
        ),
    ] = None,
    classes: Annotated[
        int, typer.Option("--classes", min=1, help="Classes of the network, for its cost.")
    ] = 10,
    max_params: Annotated[
        int | None,
        typer.Option("--max-params", min=1, help="Limit on parameters.", show_default="the skeleton's"),
    ] = None,
    max_macs: Annotated[
        int | None, typer.Option("--max-macs", min=1, help="Limit on MACs.", show_default="the skeleton's")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify blocks without PyTorch: every problem with its line, how liberal spellings were read, the
    canonical digest, the cost by width (of the whole network with `--skeleton`).

    A file holds one block or several (`##name##`, nodes, edges). A block whose name ends in `stem` or
    `downsample` is checked as such, any other as a cell. Exit status 0 if all are valid, 1 if not.
    """
    frame = get_skeleton(skeleton) if skeleton else None
    results = []
    for file in files:
        pieces = read_pieces(file, role)
        blocks = _several_stems([_checked(piece, frame) for piece in pieces])
        limits = _limits(frame, max_params, max_macs)
        network = _network(blocks, frame, classes, limits) if frame and limits else None
        results.append((file, blocks, network))
    valid = all(_all_valid(blocks) for _, blocks, _ in results)
    if as_json:
        print_json({"valid": valid, "files": [_as_json(*result) for result in results]})
    else:
        console = stdout()
        for file, blocks, network in results:
            for block in blocks:
                _print_block(console, file, block)
            if network:
                _print_network(console, network)
    if not valid:
        raise typer.Exit(INVALID)


def _checked(piece: Piece, skeleton: Skeleton | None) -> CheckedBlock:
    block = _verified(piece, skeleton)
    if block.verdict.problems:
        return block
    try:
        return replace(block, digest=digest(block.verdict.block, piece.role))
    except SymmetryError as error:
        verdict = replace(block.verdict, problems=(error.problem,))
        return replace(block, verdict=verdict, widths=None if block.widths is None else (), cost=())


def _verified(piece: Piece, skeleton: Skeleton | None) -> CheckedBlock:
    if skeleton is None:
        verdict = check_text(piece.text, piece.role)
        cost = () if verdict.problems else _cost_alone(verdict.block, piece.role)
        return CheckedBlock(piece, verdict, cost=cost)
    widths = skeleton.widths.all()
    sites = [site for width in widths for site in sites_of(skeleton, piece.role, width)]
    verdict = check_text(piece.text, piece.role, sites)
    works = np.atleast_1d(verdict.ok_sites.reshape(len(widths), -1).all(axis=1))
    return CheckedBlock(piece, verdict, tuple(width for width, ok in zip(widths, works, strict=True) if ok))


def _cost_alone(block: Block, role: Role) -> tuple[tuple[int, int, int], ...]:
    """(width, parameters, MACs) of a block at a few widths, where it works."""
    for scale in (1, 4) if role is Role.STEM else (None,):
        sites = Sites(
            Site(
                role,
                3 if role is Role.STEM else width,
                2 * width if role is Role.DOWNSAMPLE else width,
                _ALONE_SIDE,
                _ALONE_SIDE,
                None if scale is None else Fraction(1, scale),
            )
            for width in _ALONE_WIDTHS
        )
        works = verify(block, role, sites).ok_sites
        if works.any():
            params, macs = cost_at(block, sites)
            rows = zip(_ALONE_WIDTHS, map(int, params), map(int, macs), works, strict=True)
            return tuple(row[:3] for row in rows if row[3])
    return ()


def _several_stems(blocks: list[CheckedBlock]) -> list[CheckedBlock]:
    """A file may hold stems of both scales: one that fits is enough."""
    if not any(block.piece.role is Role.STEM and block.valid for block in blocks):
        return blocks
    return [replace(block, other_scale=True) if block.only_scale else block for block in blocks]


def _all_valid(blocks: list[CheckedBlock]) -> bool:
    return all(block.valid or block.other_scale for block in blocks)


def _limits(skeleton: Skeleton | None, params: int | None, macs: int | None) -> Limits | None:
    if skeleton is None:
        return None
    return Limits(params=params or skeleton.limits.params, macs=macs or skeleton.limits.macs)


def _network(
    blocks: list[CheckedBlock], skeleton: Skeleton, classes: int, limits: Limits
) -> NetworkCost | None:
    """The cost of the network that the file's blocks make; None if one of them does not work."""
    if not _all_valid(blocks):
        return None
    by_role = {block.piece.role: block.verdict.block for block in reversed(blocks) if block.valid}
    lacking = [role for role in Role if role not in by_role]
    base = base_design("resnet-basic", stride=skeleton.stem_stride)
    design = Design(
        *(by_role.get(role) or base.block(role) for role in (Role.CELL, Role.STEM, Role.DOWNSAMPLE))
    )
    verdict = verify_design(design, skeleton)
    widths = verdict.widths
    params, macs = costs(design, skeleton, widths, classes) if widths else ((), ())
    rows = tuple(zip(widths, map(int, params), map(int, macs), strict=True))
    choice, refusal = None, ""
    try:
        choice = search_width(design, skeleton, classes, limits)
    except NoWidthError as error:
        refusal = str(error)
    completed = f"resnet-basic's {' and '.join(role.value for role in lacking)}" if lacking else ""
    return NetworkCost(skeleton.name, classes, completed, rows, len(verdict.candidates), choice, refusal)


def _print_block(console: Console, file: Path, block: CheckedBlock) -> None:
    verdict, piece = block.verdict, block.piece
    line = Text.assemble(
        (clean(file), "bold"), ": ", piece.role.value, " ", (clean(verdict.block.name), "cyan"), " "
    )
    if not verdict.problems:
        line.append("is valid", style="green").append(f"  {(block.digest or '')[:12]}", style="dim")
    elif block.other_scale:
        line.append("is a stem of another scale, not checked further", style="dim")
    elif block.valid:
        line.append(f"is valid at widths {ranges(block.widths or ())} only", style="yellow")
    else:
        number = len(verdict.problems)
        line.append(f"is not valid: {number} problem{'s' if number > 1 else ''}", style="bold red")
    console.print(line, soft_wrap=True)
    for problem in () if block.other_scale else verdict.problems:
        _print_problem(console, file, problem)
    if block.cost:
        costs = (f"{width}: {count(p)} parameters, {count(m)} MACs" for width, p, m in block.cost)
        name = "dim" if piece.role is Role.STEM else "C"
        title = f"cost on a {_ALONE_SIDE}×{_ALONE_SIDE} map by {name}"
        indented(console, Text(f"{title}  {'; '.join(costs)}"), 2)
    for written in verdict.block.notes:
        indented(console, Text(f"note: {clean(written)}", style="dim"), 2)


def _print_problem(console: Console, file: Path, problem: Problem) -> None:
    place = f"{clean(file)}:{problem.line}: " if problem.line else ""
    where = f"node {problem.node}:{clean(problem.operation or '?')}: " if problem.node is not None else ""
    indented(
        console, Text.assemble(place, (f"{problem.code.value}: ", "red"), where, clean(problem.message)), 2
    )
    if problem.shapes:
        indented(console, Text(f"shapes: {'; '.join(map(clean, problem.shapes))}"), 6)
    if problem.hint:
        indented(console, Text(f"fix: {clean(problem.hint)}", style="green"), 6)


def _print_network(console: Console, network: NetworkCost) -> None:
    console.print()
    parts = f" with {network.completed_with} block" if network.completed_with else ""
    console.print(Text(f"In {network.skeleton}, {network.classes} classes{parts}", style="bold"))
    shown = table(("width", "right"), ("parameters", "right"), ("MACs", "right"), "")
    chosen = network.choice.width if network.choice else None
    for width, params, macs in _spread(network.widths, chosen):
        mark = Text("largest within the limits", style="green") if width == chosen else Text()
        shown.add_row(str(width), count(params), count(macs), mark)
    console.print(shown)
    if len(network.widths) < network.candidates:
        console.print(
            Text(
                f"It works at {len(network.widths)} of the skeleton's {network.candidates} widths.",
                style="yellow",
            )
        )
    if network.refusal:
        console.print(Text(clean(network.refusal, lines=True), style="red"))


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as text, runs of equal steps drawn together: `8 to 64 by 8, 100`."""
    parts, at = [], 0
    while at < len(numbers):
        end = at + 1
        while end + 1 < len(numbers) and numbers[end + 1] - numbers[end] == numbers[at + 1] - numbers[at]:
            end += 1
        if end >= len(numbers) or end == at + 1:
            parts.append(str(numbers[at]))
            at += 1
            continue
        parts.append(f"{numbers[at]} to {numbers[end]} by {numbers[at + 1] - numbers[at]}")
        at = end + 1
    return ", ".join(parts if len(parts) <= 8 else [*parts[:7], "…", parts[-1]])


def _spread(rows: tuple[tuple[int, int, int], ...], chosen: int | None) -> list[tuple[int, int, int]]:
    """A dozen rows from the smallest width to the largest, the chosen one among them."""
    step = max(1, len(rows) // _SHOWN_WIDTHS)
    return [row for index, row in enumerate(rows) if index % step == 0 or row is rows[-1] or row[0] == chosen]


def _as_json(file: Path, blocks: list[CheckedBlock], network: NetworkCost | None) -> dict[str, Any]:
    return {
        "file": file,
        "valid": _all_valid(blocks),
        "blocks": [
            {
                "name": block.verdict.block.name,
                "role": block.piece.role,
                "valid": block.valid,
                "other_scale": block.other_scale,
                "widths": block.widths,
                "digest": block.digest,
                "cost": [dict(zip(("width", "parameters", "macs"), row, strict=True)) for row in block.cost],
                "problems": block.verdict.problems,
                "notes": block.verdict.block.notes,
            }
            for block in blocks
        ],
        "network": network
        and {
            "skeleton": network.skeleton,
            "classes": network.classes,
            "completed_with": network.completed_with,
            "widths": [
                dict(zip(("width", "parameters", "macs"), row, strict=True)) for row in network.widths
            ],
            "choice": network.choice
            and {
                "width": network.choice.width,
                "parameters": network.choice.cost.params,
                "macs": network.choice.cost.macs,
            },
            "refusal": network.refusal,
        },
    }
