"""`nader vacuum`: gives room back without losing anything that the log names."""

import asyncio

from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import print_json, size, stdout
from nader.workspace import Workspace


def vacuum(workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Drop blobs and training folders that no event names, and shrink the file.

    Events, branches and hashes are never touched.
    """
    from nader import upkeep

    place = Workspace.at(workspace)
    with place.reader():
        pass
    report = asyncio.run(upkeep.vacuum(place))
    if as_json:
        print_json(report)
        return
    console = stdout()
    console.print(f"dropped {report.blobs} blobs ({size(report.bytes)}); {report.kept} are in use")
    console.print(
        f"dropped {report.trainings} training folders ({size(report.training_bytes)}); "
        f"{report.trainings_kept} are in use"
    )
