"""Ending a task for certain.

Belongs here: cancelling until it has ended. Does not belong here: what tasks do.

Redis' client sends within ``asyncio.wait_for``, which in Python 3.11 forgets a cancellation that comes in the moment in
which the sending ends: the task goes on, and whoever waits for its end waits for ever.
"""

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.5


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended, however it does."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=AGAIN_SECONDS)
    await asyncio.gather(task, return_exceptions=True)
