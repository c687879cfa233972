"""A program for crash tests: clients ask for effects, perform them in the world and record them, until
killed.

`python -m tests.store.crash_writer LOG WORLD` prints a line for each append once it is acknowledged. It goes
on where the log ends: an effect with no recorded outcome is performed again, one with an outcome is not.
WORLD is a folder in which each performed effect leaves a file.
"""

import asyncio
import sys
from pathlib import Path

import store.writer
from events.envelope import Ack
from store import FaultPoint, Log, fault
from tests.store.logs import pending

CLIENTS = 4
EFFECTS = 12
"""Of each client."""


async def client(log: Log, world: Path, who: int) -> None:
    """Do the effects of one client, in order, leaving out what the log says is done."""
    history = list(log.read("main"))
    done = {e.effect_key for e in history}
    for n in range(EFFECTS):
        name = f"{who}-{n}"
        asked = next((e for e in history if e.effect_key == f"ask-{name}"), None)
        if asked is None:
            (asked,) = await log.append(
                "main", [pending(n, key=f"ask-{name}", type="Asked", fill="x" * 2000)]
            )
            print(f"acknowledged {asked.id}", flush=True)
        if f"done-{name}" not in done:
            with (world / name).open("a") as file:
                file.write("performed\n")
            fault(FaultPoint.AFTER_EFFECT_BEFORE_RECORD)
            ended = pending(n, key=f"done-{name}", type="Done")
            (ended_event,) = await log.append("main", [ended], acks=[Ack(f"client-{who}", asked.position)])
            print(f"acknowledged {ended_event.id}", flush=True)
        if n % 3 == 2 and f"fork-{name}" not in {b.name for b in log.branches()}:
            first = pending(n, key=f"fork-{name}", type="Forked")
            await log.create_branch(f"fork-{name}", "run", "main", first=[first])
            print(f"branch fork-{name}", flush=True)
            print(f"acknowledged {first.id}", flush=True)


async def main(path: Path, world: Path) -> None:
    """Run all clients at once."""
    store.writer._CHECKPOINT_BYTES = 20_000  # type: ignore[misc]
    async with Log.open(path, create=True) as log:
        if not log.branches():
            await log.create_branch("main", "run")
        await asyncio.gather(*(client(log, world, who) for who in range(CLIENTS)))
    print("finished", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
