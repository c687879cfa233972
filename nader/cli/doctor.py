"""`nader doctor`: what works on this machine, and what to do about the rest."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.failures import INVALID
from nader.cli.finding import Finding, Standing
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, SetOption, WorkspaceOption
from nader.cli.output import clean, facts, print_json, stdout
from nader.settings import PRESETS, load_settings

_MARKS = {
    Standing.OK: Text("✓", style="green"),
    Standing.NOTE: Text("·", style="yellow"),
    Standing.PROBLEM: Text("✗", style="bold red"),
}


def doctor(
    llm: Annotated[
        bool,
        typer.Option(
            "--llm", help="Ask the language model's endpoint too: one short question, at its price."
        ),
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Settings of a campaign, from a TOML file.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help=f"Settings of a preset: {', '.join(PRESETS)}.")
    ] = None,
    sets: SetOption = None,
    data: Annotated[str | None, typer.Option("--data", help="Folder of data files to look in.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Check the installation: versions, device, data sets, key, disk, and whether a campaign would start.

    With a file, a preset or `--set`, it checks what those settings ask for: data, recipe, device, base
    design, and whether so many trainings at once fit on the cores and in the memory.

    Each line says what works, or what does not and what to do about it. With `--llm`: is the endpoint
    reachable, does it have the model, how long may a prompt be, how long are its embeddings. Exit status 1
    if something must be mended before `nader run` can work.
    """
    from nader.cli import health, machine

    changes = [*(sets or []), *([f"training.data_dir={json.dumps(data)}"] if data else [])]
    chosen = load_settings(file, preset, changes)
    findings = [*health.look(workspace, chosen), *machine.look(chosen.training)]
    if llm:
        findings += asyncio.run(health.endpoint(chosen))
    report(findings, as_json)


def report(findings: list[Finding], as_json: bool) -> None:
    """Print findings, and leave with status 1 if one of them is a problem."""
    problems = sum(finding.standing is Standing.PROBLEM for finding in findings)
    if as_json:
        print_json({"ok": not problems, "findings": findings})
    else:
        console = stdout()
        rows = facts([])
        rows.columns[0].style = "none"
        for finding in findings:
            said = Text(clean(finding.what))
            if finding.advice:
                said.append(f"\n→ {clean(finding.advice)}", style="yellow")
            rows.add_row(
                Text.assemble(_MARKS[finding.standing].copy(), " ", (clean(finding.area), "dim")), said
            )
        console.print(rows)
        ending = f"{problems} to mend" if problems else "`nader run` works here."
        console.print(Text(f"\n{ending}", style="bold red" if problems else "bold green"))
    if problems:
        raise typer.Exit(INVALID)
