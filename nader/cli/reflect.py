"""`nader reflect`: design experience derived anew from a run that is over."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunArgument, SetOption, WorkspaceOption
from nader.cli.output import clean, facts, number_of, print_json, stdout
from nader.reflection import rederive
from nader.workspace import Workspace


def reflect(
    run: RunArgument = None,
    sets: SetOption = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Another chat model: short for --set llm.model=…")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Reflect again on every closed candidate of a run, with today's prompts and another model if wanted.

    The run itself is not touched: the new experiences go into a branch that shares its history. A later
    campaign brings them along with `nader run --set 'search.experience_from=["BRANCH"]'`.
    """
    changes = [*(sets or [])]
    changes += [f"llm.model='{model}'"] if model is not None else []
    report = asyncio.run(rederive(Workspace.at(workspace), run, changes))
    if as_json:
        print_json({"branch": report.branch, "ending": report.ending.kind, "reason": report.ending.reason,
                    "candidates": report.candidates, "experiences": report.experiences,
                    "by_kind": report.by_kind})  # fmt: skip
        return
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(report.by_kind.items()))
    console = stdout()
    console.print(
        facts(
            [
                ("branch", clean(report.branch)),
                ("reflected on", number_of(report.candidates, "candidate")),
                ("experiences", f"{report.experiences}{f' ({kinds})' if kinds else ''}"),
                ("ended", f"{report.ending.kind}: {clean(report.ending.reason)}"),
            ]
        )
    )
    bring = f"""nader run --set 'search.experience_from=["{clean(report.branch)}"]'"""
    console.print(Text(f"bring them along: {bring}", style="dim"), soft_wrap=True)
