"""`nader fork`: a new run that shares another's history up to a position and goes its own way."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    ModelOption,
    SetOption,
    WorkspaceOption,
    in_workspace,
    with_model,
)
from nader.cli.output import clean, print_json, stdout
from nader.forks import fork as make_fork
from nader.positions import position_of
from nader.workspace import Workspace, find_run


def fork(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run or fork to leave from.")],
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="POSITION",
            help="Last event to share: a position, a candidate (its last event), CANDIDATE:STAGE, a time, "
            "`best` or `head`.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the fork.", show_default="RUN-fork-N")
    ] = None,
    sets: SetOption = None,
    model: ModelOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed: short for --set seed=…")] = None,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel",
            help="End requests open at the fork, instead of issuing them again; but for the base's training.",
        ),
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take recorded answers to identical requests from the parent's later history."
        ),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Branch off a run at any event, with other settings if wanted. Nothing is copied and the parent does
    not change.

    The fork is made at once; `nader resume FORK` then takes it up. Stages of a candidate are proposed,
    designed, queued, trained and closed: `--at r2-1:proposed` lets the same idea be designed again.
    """
    place = Workspace.at(workspace)
    with place.reader() as log:
        parent = find_run(log, run).name
        position = position_of(at, log, parent)
    changes = with_model(sets, model)
    changes += [f"seed={seed}"] if seed is not None else []
    branch = asyncio.run(
        make_fork(place, parent, position, name=name, sets=changes, cancel=cancel, reuse=reuse)
    )
    if as_json:
        print_json({"name": branch, "parent": parent, "position": position})
        return
    console = stdout()
    console.print(Text(f"{clean(branch)} shares {clean(parent)} up to position {position}"), soft_wrap=True)
    console.print(
        Text(f"go on with: nader resume {clean(branch)}{in_workspace(place.path)}", style="dim"),
        soft_wrap=True,
    )
