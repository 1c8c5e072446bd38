"""Feed lag and latency in Dagster: runless observations of the external assets ``feeds/<venue>``.

Belongs here: what is reported and the webserver's REST endpoint. Does not belong here: the external assets themselves.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp
import orjson
import structlog

from services.live_lane.measurements import Measurements
from services.live_lane.venue_feed import VenueFeed

REPORT_INTERVAL: Final = 10.0
TIME_LIMIT: Final = 5.0
WEBSERVER_VARIABLE: Final = "SIGNAL_WEBSERVER_URL"
"""Environment variable: where Dagster's webserver answers; unset: nothing is reported."""

_TOTALS: Final = ("sequence_gaps", "resyncs", "crossed", "duplicates", "late_trades")

log = structlog.get_logger("live_lane.reports")


class AssetReports:
    """Posts an observation per venue every ten seconds; a failure is counted and in nobody's way.

    Parameters
    ----------
    webserver_url : str
        Root of the Dagster webserver, ``http://127.0.0.1:3000``.
    feeds : callable
        The feeds there are at the moment.
    """

    def __init__(
        self,
        webserver_url: str,
        feeds: Callable[[], Sequence[VenueFeed]],
        measurements: Measurements,
        *,
        interval: float = REPORT_INTERVAL,
    ) -> None:
        self._url = webserver_url.rstrip("/")
        self._feeds = feeds
        self._measurements = measurements
        self._interval = interval
        self._last = (time.monotonic(), measurements.messages)
        self._failing = False

    async def run(self) -> None:
        """Report until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIME_LIMIT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.sleep(self._interval)
                rate = self._messages_per_second()
                for feed in self._feeds():
                    await self._report(session, feed, rate)

    async def _report(self, session: aiohttp.ClientSession, feed: VenueFeed, rate: float) -> None:
        url = f"{self._url}/report_asset_observation/feeds/{feed.settings.venue.lower()}"
        body = orjson.dumps({"metadata": metadata(feed, rate), "description": f"feed {feed.state}"})
        try:
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._measurements.report_failures += 1
            if not self._failing:
                log.warning("dagster does not take feed reports", url=url, error=str(error))
            self._failing = True
            return
        self._failing = False
        self._measurements.reports += 1

    def _messages_per_second(self) -> float:
        now, messages = time.monotonic(), self._measurements.messages
        (then, before), self._last = self._last, (now, messages)
        return (messages - before) / max(now - then, 1e-9)


def metadata(feed: VenueFeed, messages_per_second: float) -> dict[str, Any]:
    """What an observation says: numbers of the venue (Dagster plots them) and the state of each instrument."""
    states = {instrument: feed.instrument_state(instrument) for instrument in feed.instruments}
    values: dict[str, Any] = {
        "state": feed.state,
        "messages_per_second": round(messages_per_second, 2),
        "books_in_sync": sum(bool(state.get("synced")) for state in states.values()),
        **{name: sum(int(state.get(name) or 0) for state in states.values()) for name in _TOTALS},
        "instruments": states,
    }
    if feed.lag_seconds is not None:
        values["lag_seconds"] = round(feed.lag_seconds, 6)
    if feed.latency_seconds is not None:
        values["latency_seconds"] = round(feed.latency_seconds, 6)
    return values
