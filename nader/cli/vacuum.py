"""`nader vacuum`: gives room back without losing anything that the log names."""

import asyncio

from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import print_json, size, stdout
from nader.workspace import Workspace
from store import Log, VacuumReport


def vacuum(workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Drop blobs that no event names, and shrink the file. Events, branches and hashes are never touched."""
    place = Workspace.at(workspace)
    with place.reader():
        pass
    report = asyncio.run(_vacuum(place))
    if as_json:
        print_json(report)
    else:
        stdout().print(f"dropped {report.blobs} blobs ({size(report.bytes)}); {report.kept} are in use")


async def _vacuum(place: Workspace) -> VacuumReport:
    async with Log.open(place.log) as log:
        return await log.vacuum()
