"""Hands anomalies over to another system while this lane is the one that should.

Belongs here: when the hand-over runs. Does not belong here: what it does (``services/hand_over``).
"""

import asyncio
from collections.abc import Callable

from services.hand_over.stream_hand_over import StreamHandOver

LOOK_SECONDS = 0.5


async def hand_over_while(leads: Callable[[], bool], make: Callable[[], StreamHandOver]) -> None:
    """Hand over while ``leads`` says so, until cancelled; threads of the hand-over's own do all that waits."""
    service: StreamHandOver | None = None
    try:
        while True:
            if leads() and service is None:
                service = make()
                service.start()
            elif service is not None and not leads():
                stopping, service = service, None
                await asyncio.to_thread(stopping.stop)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        if service is not None:
            await asyncio.to_thread(service.stop)
