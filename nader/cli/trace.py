"""`nader trace`: the life of one candidate as a timeline."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from nader.audit import Moment
from nader.audit import trace as find_trace
from nader.cli.candidates import figures_line, status_text
from nader.cli.log import ACTOR_STYLES, event_json, when
from nader.cli.options import DEFAULT_WORKSPACE, AtOption, JsonOption, RunOption, WorkspaceOption
from nader.cli.output import clean, duration, print_json, stdout
from nader.cli.reading import open_run
from nader.cli.sentences import sentence


def trace(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Its name, `best` or `base`.")],
    run: RunOption = None,
    at: AtOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Tell the life of one candidate in time: proposed, written, rejected, repaired, trained, reflected upon.

    Each line has the position of its event, the time since the first, who acted, and what happened. Epochs
    of a training are drawn together.
    """
    with open_run(workspace, run, at) as opened:
        chosen = opened.candidate(candidate)
        moments = find_trace(opened.log, opened.name, chosen.id, opened.upto)
        if as_json:
            steps = [{**event_json(m.event), "since": m.since, "repeated": m.repeated} for m in moments]
            print_json({"run": opened.name, "candidate": chosen.id, "moments": steps})
            return
        console = stdout()
        console.print(
            Text.assemble(
                (clean(chosen.id), "bold cyan"), "  ", status_text(chosen), "  ", figures_line(chosen)
            )
        )
        if moments:
            console.print(Text(f"begun {when(moments[0].event.time)}", style="dim"))
        for moment in moments:
            _print(console, moment)


def _print(console: Console, moment: Moment) -> None:
    event = moment.event
    many = f" (×{moment.repeated})" if moment.repeated > 1 else ""
    line = Text.assemble(
        (f"{event.position:>6} ", "dim"),
        (f"+{duration(moment.since):<10} ", "dim"),
        (f"{clean(event.actor):<10} ", ACTOR_STYLES.get(event.actor, "")),
        (f"{clean(event.type)}{many}  ", "bold"),
        sentence(event),
    )
    console.print(line, soft_wrap=not console.is_terminal)
