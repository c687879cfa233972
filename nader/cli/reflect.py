"""`nader reflect`: design experience derived anew from a run that is over."""

import asyncio

import typer
from rich.text import Text

from nader.caps import resume_options
from nader.cli.failures import INVALID
from nader.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    ModelOption,
    RunArgument,
    SetOption,
    WorkspaceOption,
    in_workspace,
    with_model,
)
from nader.cli.output import clean, facts, number_of, print_json, stdout
from nader.reflection import ReflectionReport, rederive
from nader.workspace import Workspace


def reflect(
    run: RunArgument = None,
    sets: SetOption = None,
    model: ModelOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Reflect again on every closed candidate of a run, with today's prompts and another model if wanted.

    The run itself is not touched: the new experiences go into a branch that shares its history. A later
    campaign brings them along with `nader run --set 'search.experience_from=["BRANCH"]'`.
    """
    place = Workspace.at(workspace)
    status = tell(asyncio.run(rederive(place, run, with_model(sets, model))), place, as_json)
    if status:
        raise typer.Exit(status)


def tell(report: ReflectionReport, place: Workspace, as_json: bool) -> int:
    """Print what came of a reflection; the exit status, which is 1 while part of it is still to be done."""
    paused = report.ending.kind == "paused"
    if as_json:
        print_json({"branch": report.branch, "ending": report.ending.kind, "reason": report.ending.reason,
                    "candidates": report.candidates, "reflected": report.reflected,
                    "experiences": report.experiences, "by_kind": report.by_kind,
                    "by_model": report.by_model, "unanswered": report.unanswered})  # fmt: skip
        return INVALID if paused else 0
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(report.by_kind.items()))
    of_all = f"{report.reflected} of " if report.reflected < report.candidates else ""
    rows = [
        ("branch", clean(report.branch)),
        ("reflected on", of_all + number_of(report.candidates, "candidate")),
        ("experiences", f"{report.experiences}{f' ({kinds})' if kinds else ''}"),
        (
            "told by",
            f"{report.by_model} by {clean(report.model)}, {report.experiences - report.by_model} plain facts",
        ),
    ]
    if report.unanswered:
        rows.append(
            ("no answer", f"to {number_of(report.unanswered, 'question')}: plain facts stand instead")
        )
    rows.append(("ended", f"{report.ending.kind}: {clean(report.ending.reason)}"))
    console, where = stdout(), in_workspace(place.path)
    console.print(facts(rows))
    hint = f"""bring them along: nader run --set 'search.experience_from=["{clean(report.branch)}"]'{where}"""
    if paused:
        raised = resume_options(report.ending.reason)
        hint = f"not all is done; go on with: nader resume {clean(report.branch)}{raised}{where}"
    if paused or report.experiences:
        console.print(Text(hint, style="dim"), soft_wrap=True)
    return INVALID if paused else 0
