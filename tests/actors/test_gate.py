"""The gate before the slots: who is let in next, and that no slot is lost to one who leaves."""

from __future__ import annotations

import asyncio

from actors.gate import PriorityGate


def test_the_lowest_round_and_index_is_let_in_first_whoever_came_first() -> None:
    order: list[tuple[int, int]] = []

    async def one(gate: PriorityGate, priority: tuple[int, int]) -> None:
        async with gate.turn(priority):
            order.append(priority)
            await asyncio.sleep(0)

    async def main() -> None:
        gate = PriorityGate(1)
        await asyncio.gather(*(one(gate, place) for place in [(1, 1), (2, 0), (1, 3), (1, 2)]))

    asyncio.run(main())
    assert order == [(1, 1), (1, 2), (1, 3), (2, 0)], "the first finds the gate open"


def test_whoever_is_cancelled_gives_the_slot_on_also_when_it_was_just_handed_over() -> None:
    let_in: list[str] = []

    async def one(gate: PriorityGate, name: str) -> None:
        async with gate.turn((1, len(name))):
            let_in.append(name)

    async def main() -> None:
        gate = PriorityGate(1)
        async with gate.turn((0, 0)):
            waiting, handed, last = (asyncio.create_task(one(gate, name)) for name in ("a", "bb", "ccc"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        handed.cancel()  # the slot is its own since the line above, and it has not run yet
        await asyncio.wait([handed])
        await asyncio.wait_for(last, 5)
        async with gate.turn((9, 9)):
            let_in.append("free again")

    asyncio.run(main())
    assert let_in == ["ccc", "free again"]
