"""Work that one lane of all does: it runs while this lane is the one that should.

Belongs here: starting and ending it. Does not belong here: the work.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

LOOK_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 30.0

log = structlog.get_logger("live_lane")


async def while_leading(leads: Callable[[], bool], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` while ``leads`` says so, until cancelled; work that fails is logged and begins again later."""
    task: asyncio.Task[None] | None = None
    try:
        while True:
            if task is None and leads():
                task = asyncio.create_task(work())
            elif task is not None and task.done():
                error = None if task.cancelled() else task.exception()
                log.error("work of the leading lane failed", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
                task = None
            elif task is not None and not leads():
                await _end(task)
                task = None
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        if task is not None:
            await _end(task)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
