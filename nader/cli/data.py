"""`nader data`: which data sets are here, how to get the others, and whether the files are whole."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.failures import INVALID
from nader.cli.options import JsonOption
from nader.cli.output import clean, indented, print_json, stdout
from nader.training import DATASETS, check_dataset, data_status, dataset_info, get_dataset

data = typer.Typer(no_args_is_help=True, help="Data sets: `status`, `get`, `check`.")

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Data sets; all if left out.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        "-d",
        metavar="DIR",
        help="Folder of the files.",
        show_default="$NADER_DATA, else the user's data folder",
    ),
]


@data.command()
def status(names: NamesArgument = None, folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Show which data sets can be used, and what to do for the others. Exit status 1 if one that was named
    is missing."""
    found = [(_info(name, folder), data_status(name, folder)) for name in names or DATASETS]
    if as_json:
        print_json([vars(state) | {"info": info} for info, state in found])
    else:
        console = stdout()
        for _, state in found:
            mark = Text("✓ ", style="green") if state.ready else Text("· ", style="yellow")
            console.print(mark.append(clean(state.name), style="bold"))
            indented(console, Text(clean(state.message), style="dim"), 2)
    if names and not all(state.ready for _, state in found):
        raise typer.Exit(INVALID)


@data.command()
def get(names: Annotated[list[str], typer.Argument(metavar="NAME")], folder: FolderOption = None) -> None:
    """Download data sets, checked by digest. What cannot be downloaded is said, with where to fetch it by
    hand."""
    for name in names:
        place = get_dataset(name, folder)
        where = "comes with scikit-learn" if name == "digits" else f"is in {clean(place)}"
        stdout().print(f"{clean(name)} {where}", soft_wrap=True)


@data.command()
def check(names: Annotated[list[str], typer.Argument(metavar="NAME")], folder: FolderOption = None) -> None:
    """Read every file of data sets and check digests, counts and labels."""
    for name in names:
        info = check_dataset(name, folder).info
        sizes = f"{info.train} training, {info.validation} validation and {info.test} test images"
        stdout().print(f"{clean(name)} is whole: {sizes}, {info.classes} classes", soft_wrap=True)


def _info(name: str, folder: Path | None) -> object:
    """The facts of a data set; None for a folder of images that is not there."""
    return dataset_info(name, folder) if name in DATASETS else None
