"""`nader import-log`: runs from a portable file, checked before anything is written."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, kept_head
from nader.cli.output import clean, facts, number_of, print_json, stdout
from nader.portable import Imported, PortableError, check_file
from nader.portable import import_log as read
from nader.workspace import Workspace
from store import Log


def import_log(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of `nader export-log`.")],
    prefix: Annotated[
        str, typer.Option("--prefix", help="Put this before the names of the file's runs and libraries.")
    ] = "",
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="HASH",
            help="Import only if one of the runs ends with this head hash (or these first 12 digits of it).",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the file, write nothing.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Import runs from a portable file, after checking all of it: form, hash chains, blobs, counts.

    A run that the workspace has already must agree event for event; then only what is missing is added.
    Nothing is overwritten, and an import that was cut short is simply run again. `nader verify` then
    checks the decisions.
    """
    head = kept_head(head)
    contents, _ = check_file(file)
    heads = [branch.head.hash for branch in contents.branches]
    if head is not None and not any(known.startswith(head) for known in heads):
        raise PortableError(
            f"no run in {file} ends with head hash {head}: the file was cut off, rewritten, or is another"
        )
    done = [] if check else asyncio.run(_import(Workspace.at(workspace), file, prefix))
    if as_json:
        print_json({"file": file, "ok": True, "branches": contents.branches, "events": contents.events,
                    "blobs": contents.blobs, "imported": done})  # fmt: skip
        return
    console = stdout()
    if check:
        console.print(
            facts(
                (clean(b.name), f"{number_of(b.events, 'event')}, head {b.head.hash}")
                for b in contents.branches
            )
        )
        console.print(Text("the file is whole", style="bold green"))
        return
    rows = [
        (
            clean(one.name),
            f"{number_of(one.added, 'event')} added, {one.there} were there; head {one.head.hash}",
        )
        for one in done
    ]
    console.print(facts(rows))


async def _import(place: Workspace, file: Path, prefix: str) -> list[Imported]:
    """NORMAL is enough: what a power cut takes away, the next import of the same file adds again."""
    place.create()
    async with Log.open(place.log, create=True, synchronous="NORMAL") as log:
        return await read(log, file, prefix)
