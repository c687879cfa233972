"""`nader answer`: a person's answer to a question in the inbox."""

from pathlib import Path
from typing import Annotated

import typer

from nader.cli.blockfiles import read_text
from nader.cli.inbox import FolderOption
from nader.cli.options import DEFAULT_WORKSPACE, WorkspaceOption
from nader.cli.output import clean, stdout
from nader.llm.inbox import InboxError, waiting
from nader.llm.inbox import answer as put
from nader.workspace import Workspace


def answer(
    question: Annotated[
        str, typer.Argument(metavar="ID", help="The question (its first letters do), or `next`.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File with the answer; standard input if left out.")
    ] = Path("-"),
    folder: FolderOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Answer a question: `nader answer next answer.txt`, or `nader answer next < answer.txt`.

    The campaign goes on by itself. The answer is recorded as a person's.
    """
    place = folder or Workspace.at(workspace).inbox
    if question == "next":
        there = waiting(place)
        if not there:
            raise InboxError(f"no question waits in {place}")
        question = there[0].id
    written = put(place, question, read_text(file))
    stdout().print(f"answered: {clean(written)}", soft_wrap=True)
