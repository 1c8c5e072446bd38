"""``python -m services.simulated_venue``: run the venue as a process.

Belongs here: arguments, signals, one JSON line with the address once it listens. Does not belong here: the venue.
"""

import argparse
import asyncio
import contextlib
import math
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from resources.settings import SettingsError, load_settings
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from services.simulated_venue.recording import RecordingError
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import from_datetime
from signal_assets.instrument import Instrument


def _speed(text: str) -> float:
    if text in ("max", "inf"):
        return math.inf
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def _start(text: str) -> int:
    if text == "now":
        return time.time_ns() // 1000
    moment = datetime.fromisoformat(text)
    return from_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.simulated_venue",
        description="A venue on 127.0.0.1 that speaks Binance's REST and WebSocket protocol.",
        epilog="example: python -m services.simulated_venue --seed 7 --days 1 --speed 100",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--recording", type=Path, nargs="+", help="serve these files instead of the model")
    parser.add_argument("--speed", type=_speed, default=1.0, help="virtual seconds per second, or max")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, help="length of the model; endless without it")
    parser.add_argument("--start", type=_start, default=DEFAULT_START, help="ISO time (UTC), or now")
    parser.add_argument("--instruments", nargs="+", help="symbols of the configuration; all without it")
    parser.add_argument("--sparse", action="store_true", help="few messages: a diff every 5 s, small books")
    parser.add_argument("--diff-milliseconds", type=int)
    parser.add_argument("--trades-per-second", type=float)
    parser.add_argument("--levels", type=int, help="levels a side")
    parser.add_argument("--anomalies-per-day", type=float, help="planted per instrument")
    parser.add_argument("--gaps-per-day", type=float)
    parser.add_argument("--truth", type=Path, help="write what is planted to this file before serving")
    parser.add_argument("--subscribers", type=int, default=1, help="how many the virtual clock waits for")
    parser.add_argument("--at-once", action="store_true", help="start the virtual clock without a subscriber")
    parser.add_argument("--pause-without-client", action="store_true")
    parser.add_argument("--stop-at-end", action="store_true", help="exit once everything was served")
    return parser


def _settings(arguments: argparse.Namespace) -> FlowSettings:
    named = {
        "diff_interval": arguments.diff_milliseconds,
        "trades_per_second": arguments.trades_per_second,
        "levels_per_side": arguments.levels,
        "anomalies_per_day": arguments.anomalies_per_day,
        "gaps_per_day": arguments.gaps_per_day,
    }
    changes = {name: value for name, value in named.items() if value is not None}
    return FlowSettings.sparse(**changes) if arguments.sparse else FlowSettings(**changes)


def _instruments(symbols: Sequence[str] | None) -> tuple[Instrument, ...]:
    known = {item.symbol: item for item in load_settings().instruments_by_key.values() if item.venue == "BINANCE"}
    for symbol in symbols or ():
        if symbol not in known:
            raise ValueError(f"instrument {symbol!r} is not in the configuration: {', '.join(known)}")
    return tuple(known[symbol] for symbol in symbols or known)


def build(arguments: argparse.Namespace) -> SimulatedVenue:
    """The venue the arguments describe."""
    instruments = _instruments(arguments.instruments)
    source: OrderFlow | list[Path]
    if arguments.recording:
        source = arguments.recording
    else:
        source = OrderFlow(
            instruments,
            start=arguments.start,
            seed=arguments.seed,
            days=arguments.days,
            settings=_settings(arguments),
        )
        if arguments.truth is not None:
            arguments.truth.write_bytes(orjson.dumps(source.truth(), option=orjson.OPT_INDENT_2))
    return SimulatedVenue(
        source,
        instruments=instruments,
        speed=arguments.speed,
        port=arguments.port,
        start_at_once=arguments.at_once,
        subscribers=arguments.subscribers,
        pause_without_client=arguments.pause_without_client,
    )


async def serve(venue: SimulatedVenue, *, stop_at_end: bool) -> RecordingError | None:
    """Run until a signal, or until everything was served; returns what broke the recording."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with venue:
        sys.stdout.write(orjson.dumps({"rest_url": venue.rest_url, "stream_url": venue.stream_url}).decode() + "\n")
        sys.stdout.flush()
        ends = [asyncio.create_task(stopped.wait()), asyncio.create_task(_end(venue, stop_at_end))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return venue.failure


async def _end(venue: SimulatedVenue, stop_at_end: bool) -> None:
    await venue.finished.wait()
    if not stop_at_end and venue.failure is None:
        await asyncio.Event().wait()


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    arguments = _arguments().parse_args(words)
    try:
        failure = asyncio.run(serve(build(arguments), stop_at_end=arguments.stop_at_end))
    except (OSError, ValueError, SettingsError) as error:
        sys.stderr.write(f"simulated venue: {error}\n")
        return 1
    if failure is not None:
        sys.stderr.write(f"simulated venue: {failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
