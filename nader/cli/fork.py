"""`nader fork`: a new run that shares another's history up to a position and goes its own way."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from events.campaign import SettingsChanged
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
from nader.reach import reach
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

    Changed settings, models and prompts hold for all that begins after POSITION: with `r2-1:proposed` the
    design of r2-1 too. What had asked or recorded something by then ends as it began; the command says which.
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
    with place.reader() as log:
        differs = any(log.read(branch, after=position, types=(SettingsChanged.__name__,)))
        undone = reach(log, parent, position) if differs else None
    if as_json:
        pending, begun = (undone.pending, undone.begun) if undone else ((), ())
        told = {"name": branch, "parent": parent, "position": position}
        print_json({**told, "changed_for": list(pending), "unchanged_for": list(begun)})
        return
    console = stdout()
    console.print(Text(f"{clean(branch)} shares {clean(parent)} up to position {position}"), soft_wrap=True)
    if undone is not None:
        work = clean(", ".join([*undone.pending, "all that comes later"]))
        console.print(Text(f"under the changed settings: {work}"), soft_wrap=True)
    elif changes:
        console.print(Text("nothing was changed: the settings are so already"), soft_wrap=True)
    if undone is not None and undone.begun:
        without = ", without the answers that are cancelled" if cancel else ""
        work = clean(", ".join(undone.begun))
        console.print(Text(f"as it had begun{without}: {work}"), soft_wrap=True)
    console.print(
        Text(f"go on with: nader resume {clean(branch)}{in_workspace(place.path)}", style="dim"),
        soft_wrap=True,
    )
