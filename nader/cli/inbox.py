"""`nader inbox`: the questions that wait for a person, at `llm.backend = "inbox"`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.log import when
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import clean, heading, print_json, stdout, table
from nader.llm.inbox import InboxError, waiting
from nader.workspace import Workspace

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="The inbox.", show_default="`inbox` in the workspace")
]


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
    place = folder or Workspace.at(workspace).inbox
    there = waiting(place)
    if question is not None:
        chosen = there[:1] if question == "next" else [item for item in there if item.id.startswith(question)]
        if not chosen:
            raise InboxError(f"no question in {place} waits under {question!r}; {len(there)} wait in all")
        there = chosen[:1]
    if as_json:
        print_json(
            [
                {"id": w.id, "prompt": w.prompt, "asked": w.asked.timestamp(), "file": w.path, "text": w.text}
                for w in there
            ]
        )
        return
    console = stdout()
    if question is not None:
        console.print(heading(there[0].id))
        console.print(clean(there[0].text, lines=True).rstrip(), soft_wrap=True)
    elif not there:
        console.print(f"no question waits in {clean(place)}")
    else:
        shown = table("question", "kind", "asked")
        for item in there:
            shown.add_row(Text(item.id, style="cyan"), clean(item.prompt), when(item.asked.timestamp()))
        console.print(shown)
        console.print(Text("read one: nader inbox next     answer: nader answer ID FILE", style="dim"))
