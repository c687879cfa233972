"""`nader answer`: a person's answer to a question in the inbox."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nader.cli.blockfiles import read_text
from nader.cli.inbox import FolderOption, folders, named, waiting_in
from nader.cli.options import DEFAULT_WORKSPACE, WorkspaceOption
from nader.cli.output import clean, stdout
from nader.llm.inbox import ANSWER, InboxError
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

    The campaign goes on by itself. The answer is recorded as a person's. A text from which no answer of the
    form asked for can be read is refused with the reason.
    """
    places = [folder] if folder else folders(Workspace.at(workspace))
    there = waiting_in(places)
    if question == "next":
        if not there:
            raise InboxError(f"no question waits in {named(places)}")
        question = there[0].id
    matching = [w for w in there if w.id.startswith(question)]
    if not matching and not list(_answered(places, question)):
        raise InboxError(f"no question in {named(places)} has an id that begins with {question!r}.")
    if len(exact := [w for w in matching if w.id == question] or matching) > 1:
        raise InboxError(f"several questions begin with {question!r}: {', '.join(w.id for w in exact)}.")
    place = exact[0].path.parent if exact else next(_answered(places, question))
    text = read_text(file, errors="strict")
    if exact and text.strip() and (complaint := exact[0].complaint(text)):
        raise InboxError(f"this text cannot be used, and the question still waits. {complaint}")
    written = put(place, exact[0].id if exact else question, text)
    stdout().print(f"answered: {clean(written)}", soft_wrap=True)


def _answered(places: Sequence[Path], question: str) -> Iterator[Path]:
    """Folders in which this very question has its answer."""
    return (place for place in places if (place / f"{question}{ANSWER}").is_file())
