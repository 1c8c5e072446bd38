"""A task ends although it has overheard that it should."""

import asyncio

from services.live_lane.task_end import end_task


async def test_a_task_that_forgets_a_cancellation_is_cancelled_again() -> None:
    heard = 0

    async def forgetful() -> None:
        nonlocal heard
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                heard += 1
                if heard > 1:
                    raise

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_task(task), 60)
    assert task.cancelled()
    assert heard == 2


async def test_a_task_that_has_failed_has_ended() -> None:
    async def failing() -> None:
        raise ValueError("x")

    task = asyncio.create_task(failing())
    await asyncio.wait((task,))
    await end_task(task)
    await end_task(task)
    assert isinstance(task.exception(), ValueError)
