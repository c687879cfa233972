"""`nader runs`: the runs of a workspace and how they stand."""

from typing import Any

from rich.text import Text

from events import EventError
from events.reflection import ReflectionRequested
from nader.cli.candidates import gain_text
from nader.cli.log import when
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import clean, number_of, percent, print_json, print_table, stdout, table
from nader.workspace import LIBRARY, Workspace, fold, is_only_imported, is_reflection
from store import BranchInfo, Reader, lock_holder


def runs(workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """List runs, forks, reflections and libraries: how far each came, its best candidate, its head hash.

    Keep a head hash elsewhere to be able to prove later that nothing was cut off the end of a log.
    """
    place = Workspace.at(workspace)
    with place.reader() as log:
        rows = [_row(log, info) for info in log.branches()]
        holder = lock_holder(place.log)
    if as_json:
        print_json({"workspace": place.path, "log": place.log, "writer": holder, "runs": rows})
        return
    console = stdout()
    shown = table("run", "state", "data", ("trained", "right"), "best")
    for row in rows:
        what = "reflection on" if row["kind"] == "reflection" else "fork of"
        fork = f"{what} {clean(row['parent'])} at {row['fork_position']}" if row["parent"] else ""
        fork = ", ".join(words for words in (fork, "imported" if row["imported"] else "") if words)
        best = row["best"]
        shown.add_row(
            _two(Text(clean(row["name"]), style="bold"), fork),
            _two(Text(clean(row["state"])), f"begun {when(row['created'])[:16]}"),
            _two(Text(clean(row["dataset"] or "")), clean(row["designer"] or "")),
            str(row["trained"]),
            _two(_best(row), f"test {percent(best['test'])}" if best else ""),
        )
    print_table(console, shown)
    if holder is not None:
        console.print(Text(f"The log is being written by {clean(holder)}.", style="yellow"))


def _row(log: Reader, info: BranchInfo) -> dict[str, Any]:
    """What is known of a run, with the keys that docs/commands.md promises."""
    head = log.head(info.name)
    row: dict[str, Any] = {
        "name": info.name, "kind": _kind(log, info), "run": info.run, "parent": info.parent,
        "fork_position": info.fork_position, "created": _begun(log, info), "events": head.position,
        "head": head.hash, "imported": is_only_imported(log, info, log.imports()),
    }  # fmt: skip
    try:
        views, history = fold(log, info.name)
    except EventError as error:  # the others are to be seen all the same
        nothing = dict.fromkeys(("designer", "dataset", "best"))
        return row | nothing | {"state": f"cannot be read: {error}", "trained": 0}
    status, best = views.status, views.best()
    if info.name.startswith(LIBRARY):
        found = number_of(views.knowledge.count(), "inspiration")
        return row | dict.fromkeys(("designer", "dataset")) | {"state": found, "trained": 0, "best": None}
    base = views.tree.candidate("base")
    finished, paused = status.finished(), status.paused()
    state = (
        f"finished ({finished.reason})"
        if finished
        else f"paused ({paused.reason})"
        if paused
        else "not finished"
    )
    if row["kind"] == "reflection":
        left = sum(e.type == ReflectionRequested.__name__ for e in history.open_requests())
        state = f"{number_of(left, 'candidate')} to reflect on" if left else "reflected"
    gain = (
        best.validation - base.validation if best and base and best.validation and base.validation else None
    )
    trained = [c for c in views.tree.candidates() if c.parent is not None and c.stage == "trained"]
    return row | {
        "state": state,
        "designer": status.designer(),
        "dataset": status.settings().get("training", {}).get("dataset"),
        "trained": len(trained),
        "best": best and {"id": best.id, "validation": best.validation, "test": best.test, "gain": gain},
    }


def _begun(log: Reader, info: BranchInfo) -> float:
    """The time of the first event of its own: an imported one was begun elsewhere, and earlier."""
    own = next(iter(log.read(info.name, after=info.fork_position, upto=info.fork_position + 1)), None)
    return info.created if own is None else own.time


def _kind(log: Reader, info: BranchInfo) -> str:
    if info.name.startswith(LIBRARY):
        return "library"
    if is_reflection(log, info):
        return "reflection"
    return "fork" if info.parent else "run"


def _two(first: Text, second: str) -> Text:
    return first.append(f"\n{second}", style="dim") if second else first


def _best(row: dict[str, Any]) -> Text:
    best = row["best"]
    if not best:
        return Text("-")
    said = Text(f"{clean(best['id'])} {percent(best['validation'])}")
    return said if best["gain"] is None else said.append(" ").append_text(gain_text(best["gain"]))
