"""What ``signals doctor`` looks at: configuration, services, disk, clock, exchange.

Belongs here: checks from outside, each ending in one line. Does not belong here: metrics of running services.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
import redis

from resources.duck_lake import catalog_dsn, connect
from resources.exchange.binance import BinanceSpot
from resources.exchange.errors import ExchangeError
from resources.lake import LakeError
from resources.redis_streams import open_redis
from resources.settings import Addresses, AddressesError, Settings, SettingsError, load_settings, settings_path
from signal_assets.event_time import SECOND

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
        yield from _exchange_checks(settings)


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
    connection = connect(addresses, read_only=True)
    try:
        row = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake'").fetchone()
    finally:
        connection.close()
    return f"{row[0] if row else 0} tables at {addresses.lake_path}"


def _processes(home: Path) -> str:
    path = home / "processes.json"
    if not path.exists():
        return "started elsewhere"
    try:
        states = {str(child["name"]): str(child["state"]) for child in json.loads(path.read_text("utf-8"))}
    except (ValueError, TypeError, KeyError):
        raise _FailedError(f"{path} cannot be read") from None
    if down := [f"{name} is {state}" for name, state in states.items() if state not in ("running", "finished")]:
        raise _FailedError(f"{', '.join(down)}: see {home / 'logs'}")
    return f"{len(states)} running"


def _disk(home: Path) -> str:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise _FailedError(f"only {free / 1024**3:.1f} GiB free at {folder}: 2 GiB are the least")
    return f"{free / 1024**3:.1f} GiB free at {folder}"


def _exchange_checks(settings: Settings) -> Iterator[Check]:
    """Clock and exchange: both need the exchange's answer, and each says so by itself when there is none."""
    try:
        clock_error, exchange = asyncio.run(_ask_exchange(settings))
    except TimeoutError:
        reason = f"{settings.venue.rest_url} does not answer within {EXCHANGE_PATIENCE_SECONDS:g} s"
        yield Check("clock", False, f"not compared: {reason}")
        yield Check("exchange", False, reason)
        return
    except (ExchangeError, OSError) as error:
        reason = " ".join(str(error).split())
        yield Check("clock", False, f"not compared: {reason}")
        yield Check("exchange", False, reason)
        return
    if settings.venue.virtual_clock:
        yield Check("clock", True, "the venue has a virtual one")
    else:
        good = abs(clock_error) <= LARGEST_CLOCK_ERROR
        advice = "" if good else ": synchronize this machine's clock"
        yield Check("clock", good, f"{clock_error:+.3f} s from the exchange's{advice}")
    yield exchange


async def _ask_exchange(settings: Settings) -> tuple[float, Check]:
    instruments = [item for item in settings.instruments_by_key.values() if item.venue == VENUE]
    venue = settings.venue
    async with (
        asyncio.timeout(EXCHANGE_PATIENCE_SECONDS),
        BinanceSpot(instruments, rest_url=venue.rest_url, stream_url=venue.stream_url) as exchange,
    ):
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
    detail = "; ".join(problems) or f"{venue.rest_url} answers in {took * 1000:.0f} ms, filters agree"
    return (here - there) / SECOND, Check("exchange", not problems, detail)


def _milliseconds(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
