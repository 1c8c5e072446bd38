"""What ``signals doctor`` looks at: configuration, services, disk, clock, exchange.

Belongs here: checks from outside, each ending in one line. Does not belong here: metrics of running services.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg2
import redis

from resources.addresses import Addresses, AddressesError
from resources.duck_lake_connection import catalog_dsn
from resources.exchange.binance import BinanceSpot
from resources.exchange.binance_client import BinanceClient
from resources.exchange.binance_messages import is_perpetual
from resources.exchange.binance_usdm import BinanceUsdm
from resources.exchange.errors import ExchangeError
from resources.lake import LakeError
from resources.read_only_query import ReadOnlyLake
from resources.redis_streams import open_redis
from resources.settings import Settings, SettingsError, load_settings, settings_path
from services.platform.platform import STATUS_FILE
from signal_assets.event_time import SECOND
from signal_assets.instrument import Instrument

LEAST_FREE_BYTES: Final = 2 * 1024**3
LARGEST_CLOCK_ERROR: Final = 1.0
EXCHANGE_PATIENCE_SECONDS: Final = 10.0
VENUE: Final = "BINANCE"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    good: bool
    detail: str


class _FailedError(Exception):
    """A check failed; the text says what was found and what to do."""


def examine(home: Path) -> Iterator[Check]:
    """All checks, one after the other; never raises on what it finds."""
    settings: Settings | None = None
    addresses: Addresses | None = None
    try:
        settings = load_settings()
        yield Check("configuration", True, f"{settings_path()}: {len(settings.instruments)} instruments")
    except SettingsError as error:
        yield Check("configuration", False, str(error))
    try:
        addresses = Addresses.resolve(home)
        yield Check("platform", True, f"addresses known in {home}")
    except AddressesError as error:
        yield Check("platform", False, str(error))
    if addresses is not None:
        found = addresses
        yield _checked("postgres", lambda: _postgres(found))
        yield _checked("redis", lambda: _redis(found))
        yield _checked("broker", lambda: _broker(found))
        yield _checked("lake", lambda: _lake(found))
        yield _checked("processes", lambda: _processes(home))
    yield _checked("disk", lambda: _disk(home))
    if settings is not None:
        simulated = simulated_venue_url(home)
        of_venue = [item for item in settings.instruments_by_key.values() if item.venue == VENUE]
        perpetuals = [item for item in of_venue if is_perpetual(item)]
        spot = [item for item in of_venue if not is_perpetual(item)]
        if spot or not perpetuals:
            url = simulated or settings.venue.rest_url
            yield from _exchange_checks(settings, BinanceSpot(spot, rest_url=url), spot, url)
        if perpetuals:
            url = simulated or settings.venue.futures_rest_url
            futures = BinanceUsdm(perpetuals, rest_url=url)
            yield from _exchange_checks(settings, futures, perpetuals, url, "futures ")


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (_FailedError, LakeError, ExchangeError, OSError, psycopg2.Error, redis.RedisError) as error:
        text = " ".join(str(error).split())
        return Check(name, False, text or type(error).__name__)


def _postgres(addresses: Addresses) -> str:
    began = time.perf_counter()
    connection = psycopg2.connect(catalog_dsn(addresses), connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            row = cursor.fetchone()
    finally:
        connection.close()
    return f"PostgreSQL {row[0] if row else '?'}, {_milliseconds(began)}"


def _redis(addresses: Addresses) -> str:
    began = time.perf_counter()
    with open_redis(addresses.redis_url) as client:
        version = _text(client.info("server").get("redis_version", "?"))
        took = _milliseconds(began)
        policy = _text(client.info("memory").get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise _FailedError(f"Redis {version} evicts keys ({policy}): set maxmemory-policy noeviction")
    return f"Redis {version}, {took}"


def _broker(addresses: Addresses) -> str:
    from resources.run_lease import broker_client

    began = time.perf_counter()
    client = broker_client(addresses.broker_url)
    try:
        client.ping()
    finally:
        client.close()
    return f"answers in {_milliseconds(began)}"


def _lake(addresses: Addresses) -> str:
    with (
        ReadOnlyLake(addresses) as lake,
        lake.ask("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake'") as answer,
    ):
        (count,) = next(answer.rows())
    return f"{count} tables at {addresses.lake_path}"


def _children(home: Path) -> list[dict[str, Any]]:
    path = home / STATUS_FILE
    if not path.exists():
        return []
    try:
        return [dict(child) for child in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError):
        raise _FailedError(f"{path} cannot be read") from None


def simulated_venue_url(home: Path) -> str | None:
    """Where the home's platform has a simulated venue in the exchange's place; None if it has none."""
    try:
        (pid,) = [child["pid"] for child in _children(home) if child.get("name") == "simulated_venue"]
        words = psutil.Process(pid).cmdline()
        return f"http://127.0.0.1:{int(words[words.index('--port') + 1])}"
    except (_FailedError, psutil.Error, ValueError, TypeError, IndexError):
        return None


def _processes(home: Path) -> str:
    states = {str(child.get("name")): str(child.get("state")) for child in _children(home)}
    if not states:
        return "started elsewhere"
    if down := [f"{name} is {state}" for name, state in states.items() if state not in ("running", "finished")]:
        raise _FailedError(f"{', '.join(down)}: see {home / 'logs'}")
    return f"{len(states)} running"


def _disk(home: Path) -> str:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise _FailedError(f"only {free / 1024**3:.1f} GiB free at {folder}: 2 GiB are the least")
    return f"{free / 1024**3:.1f} GiB free at {folder}"


def _exchange_checks(
    settings: Settings, exchange: BinanceClient, instruments: Sequence[Instrument], rest_url: str, of: str = ""
) -> Iterator[Check]:
    """Clock and exchange: both need the exchange's answer, and each says so by itself when there is none."""
    clock, name = f"{of}clock", f"{of}exchange"
    try:
        clock_error, found = asyncio.run(_ask_exchange(exchange, instruments, rest_url, name))
    except TimeoutError:
        reason = f"{rest_url} does not answer within {EXCHANGE_PATIENCE_SECONDS:g} s"
        yield Check(clock, False, f"not compared: {reason}")
        yield Check(name, False, reason)
        return
    except (ExchangeError, OSError) as error:
        reason = " ".join(str(error).split())
        yield Check(clock, False, f"not compared: {reason}")
        yield Check(name, False, reason)
        return
    if settings.venue.virtual_clock:
        yield Check(clock, True, "the venue has a virtual one")
    else:
        good = abs(clock_error) <= LARGEST_CLOCK_ERROR
        advice = "" if good else ": synchronize this machine's clock"
        yield Check(clock, good, f"{clock_error:+.3f} s from the exchange's{advice}")
    yield found


async def _ask_exchange(
    exchange: BinanceClient, instruments: Sequence[Instrument], rest_url: str, name: str
) -> tuple[float, Check]:
    async with asyncio.timeout(EXCHANGE_PATIENCE_SECONDS), exchange:
        took = await exchange.ping()
        before = time.time_ns() // 1000
        there = await exchange.server_time()
        here = (before + time.time_ns() // 1000) / 2
        filters = await exchange.exchange_information()
    wrong = [
        f"{item.key}: the exchange says tick {found.tick_size / 1e8:g}, lot {found.lot_size / 1e8:g}"
        for item in instruments
        if (found := filters.get(item.key)) is not None
        and (found.tick_size, found.lot_size) != (item.tick_size, item.lot_size)
    ]
    absent = [f"{item.key}: not traded there" for item in instruments if item.key not in filters]
    problems = wrong + absent
    detail = "; ".join(problems) or f"{rest_url} answers in {took * 1000:.0f} ms, filters agree"
    return (here - there) / SECOND, Check(name, not problems, detail)


def _milliseconds(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
