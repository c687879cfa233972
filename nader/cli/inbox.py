"""`nader inbox`: the questions that wait for a person, at `llm.backend = "inbox"`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from events.campaign import CampaignStarted, SettingsChanged
from events.reading import ReadingStarted
from nader.cli.log import when
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import clean, heading, print_json, stdout, table
from nader.llm.inbox import InboxError, Waiting, waiting
from nader.workspace import Workspace

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="The inbox.", show_default="those of the workspace's runs"),
]


def folders(workspace: Workspace) -> list[Path]:
    """Where questions may wait: the workspace's inbox, and those that its runs and libraries name instead."""
    found = {workspace.inbox: None}
    if workspace.log.exists():
        types = (CampaignStarted.__name__, SettingsChanged.__name__, ReadingStarted.__name__)
        with workspace.reader() as log:
            for branch in log.branches():
                for envelope in log.read(branch.name, after=branch.fork_position, types=types):
                    llm = envelope.data()["settings"].get("llm", {})
                    if llm.get("backend") == "inbox" and llm.get("inbox"):
                        found[Path(llm["inbox"])] = None
    return list(found)


def waiting_in(places: Sequence[Path]) -> list[Waiting]:
    """The unanswered questions in several folders, oldest first."""
    return sorted((w for place in places for w in waiting(place)), key=lambda w: (w.asked, w.id))


def named(places: Sequence[Path]) -> str:
    """Folders as a sentence names them."""
    return " or ".join(str(place) for place in places)


def inbox(
    question: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Print this question (its first letters do), or `next`."),
    ] = None,
    folder: FolderOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List the questions that wait for an answer of yours, or print one.

    Start a campaign that asks you with `nader run --set llm.backend=inbox`; answer with `nader answer`.
    """
    places = [folder] if folder else folders(Workspace.at(workspace))
    there = waiting_in(places)
    if question is not None:
        chosen = there[:1] if question == "next" else [item for item in there if item.id.startswith(question)]
        if not there:
            raise InboxError(f"no question waits in {named(places)}")
        if not chosen:
            raise InboxError(
                f"no question in {named(places)} waits under {question!r}; {len(there)} wait in all"
            )
        there = chosen[:1]
    if as_json:
        print_json(
            [
                {
                    "id": w.id,
                    "prompt": w.prompt,
                    "asked": w.asked.timestamp(),
                    "again": w.again,
                    "file": w.path,
                    "text": w.text,
                }
                for w in there
            ]
        )
        return
    console = stdout()
    if question is not None:
        console.print(heading(there[0].id))
        if there[0].again:
            again = f"Asked again: {clean(there[0].again)} Your last answer stands at the end."
            console.print(Text(again, style="bold yellow"), soft_wrap=True)
        console.print(clean(there[0].text, lines=True).rstrip(), soft_wrap=True)
    elif not there:
        console.print(f"no question waits in {clean(named(places))}", soft_wrap=True)
    else:
        shown = table("question", "kind", "asked")
        for item in there:
            kind = Text(f"{clean(item.prompt)}, again" if item.again else clean(item.prompt))
            shown.add_row(Text(item.id, style="cyan"), kind, when(item.asked.timestamp()))
        console.print(shown)
        for item in (w for w in there if w.again):
            console.print(f"{item.id} is asked again: {clean(item.again)}", soft_wrap=True)
        console.print(Text("read one: nader inbox next     answer: nader answer ID FILE", style="dim"))
