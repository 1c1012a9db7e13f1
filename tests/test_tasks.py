"""Tasks end with their owner, also those that go on when they are first cancelled."""

from __future__ import annotations

import asyncio

import pytest

from gateway import tasks


async def deaf(times: int, told: list[int]) -> None:
    """Goes on so many times when it is cancelled."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            told.append(times)
            times -= 1
            if times < 0:
                raise


async def failing() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise ValueError("on its way out")


async def test_a_task_that_goes_on_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    told: list[int] = []
    going = [asyncio.create_task(work) for work in (deaf(2, told), deaf(0, told), failing())]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.end(*going)
    assert sorted(told) == [0, 0, 1, 2]
    assert all(task.done() for task in going)


async def test_what_is_over_is_left_as_it_is() -> None:
    told: list[int] = []
    done = asyncio.create_task(asyncio.sleep(0, "done"))
    await done
    await tasks.end(done)
    await tasks.end()
    assert (done.result(), told) == ("done", [])


async def test_work_beside_a_block_ends_with_it_and_its_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    told: list[int] = []
    async with asyncio.timeout(30):
        async with tasks.running(deaf(1, told), "deaf"):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="on its way out"):
            async with tasks.running(failing(), "failing"):
                await asyncio.sleep(0)
    assert told == [1, 0]
