"""`nader resume`: goes on with a campaign where its log ends."""

import asyncio
from typing import Annotated

import typer

from nader.campaign import Campaign
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunArgument, SetOption, WorkspaceOption
from nader.cli.reflect import tell
from nader.cli.running import run_campaign
from nader.errors import WorkspaceError
from nader.reflection import go_on
from nader.workspace import LIBRARY, Workspace, find_run, is_reflection


def resume(
    run: RunArgument = None,
    sets: SetOption = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates", "-c", help="Designs to train in all: short for --set search.candidates=…"
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="US dollars to spend at most in all: short for --set budget.money=…"),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run after Ctrl-C, a crash, a cap or a fork. Nothing that is recorded is asked or
    trained again.

    An unfinished training goes on from its checkpoint, a paused reflection (of `nader reflect`) with what is
    left to reflect on. A finished run goes on if a setting makes room for more: `nader resume --candidates
    24`.
    """
    changes = [*(sets or [])]
    changes += [f"search.candidates={candidates}"] if candidates is not None else []
    changes += [f"budget.money={budget}"] if budget is not None else []
    status = asyncio.run(_resume(Workspace.at(workspace), run, changes, as_json))
    if status:
        raise typer.Exit(status)


async def _resume(workspace: Workspace, run: str | None, changes: list[str], as_json: bool) -> int:
    with workspace.reader() as reader:
        info = find_run(reader, run)
        reflection = is_reflection(reader, info)
    if info.name.startswith(LIBRARY):
        raise WorkspaceError(f"{info.name} is a library; the `nader read` that made it goes on with it")
    if reflection:  # its campaign is its parent's business; what goes on here is reflecting
        return tell(await go_on(workspace, info.name, changes), workspace, as_json)
    async with await Campaign.resume(workspace, run, changes) as campaign:
        return await run_campaign(campaign, as_json)
