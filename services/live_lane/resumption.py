"""Where a lane goes on: behind what the streams and the lake hold, and behind what an earlier process left on disk.

Belongs here: asking Redis, the lake and the spill; what is to be done where Redis has lost entries. Does not belong
here: sending (``outbox``), going on from a point (``signal_assets/market/ingest``).

Usually the streams reach beyond the lake and the spill is empty: the streams say it all. Where Redis was lost, or has
gone back to an older state, the lake reaches further, and the lane goes on behind the lake: trades from there on are
fetched by REST, and the grid points that only the lost Redis had become a row of ``market.feed_gaps``. A spill then
holds what followed the loss. It may be sent only behind the hole; what can be had of the hole goes first: the bridge.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, TypeVar, cast

import pandas as pd
import redis.asyncio
import structlog

from resources import redis_keys
from resources.addresses import AddressesError
from resources.exchange.errors import ExchangeError
from resources.lake import Lake, Offset
from resources.redis_streams import entry_id, stream_tail
from services.live_lane.batch import Addition, Batch, BatchError
from services.live_lane.outbox import REDIS_ERRORS, Outbox
from services.live_lane.spill import Spill
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, HOUR, ceil_to, floor_to
from signal_assets.instrument import Instrument
from signal_assets.market import tables
from signal_assets.market.ingest import ResumePoint
from signal_assets.market.messages import MalformedMessageError, Trade
from signal_assets.market.stream_codec import decode, encode
from signal_assets.market.trade_quality import trade_flags
from signal_assets.table import Table

LOOK_BACK: Final = 100
"""Entries searched for the last features row; behind so many markers without rows the last watermark serves."""

LOST: Final = "redis_lost"
TRADES_PAGE: Final = 1_000
REST_ERRORS: Final = (ExchangeError, OSError, TimeoutError, MalformedMessageError)
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
LAKE_SECONDS: Final = 20.0
_NEWEST: Final = (HOUR, DAY, 40 * 366 * DAY)
"""How far back the lake is searched for an instrument's newest rows, further and further."""

T = TypeVar("T")

FetchTrades = Callable[[str, int, int], Awaitable[list[Trade]]]
"""Trades by REST: of an instrument, from an id on, at most so many."""

log = structlog.get_logger("live_lane.resumption")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an instrument has come somewhere; times µs, None where nothing is known.

    Parameters
    ----------
    closed : int or None
        Last watermark.
    last_row : int or None
        Time of the last features row.
    last_trade_id, last_trade_time : int or None
        The newest trade.
    ids : mapping of str to int
        Highest entry id by stream key, as far as they are there.
    """

    closed: int | None = None
    last_row: int | None = None
    last_trade_id: int | None = None
    last_trade_time: int | None = None
    ids: Mapping[str, int] = field(default_factory=dict)

    def furthest(self, other: "Standing") -> "Standing":
        """The further of the two in every respect."""
        return Standing(
            closed=_larger(self.closed, other.closed),
            last_row=_larger(self.last_row, other.last_row),
            last_trade_id=_larger(self.last_trade_id, other.last_trade_id),
            last_trade_time=_larger(self.last_trade_time, other.last_trade_time),
            ids={key: max(self.ids.get(key, 0), other.ids.get(key, 0)) for key in {*self.ids, *other.ids}},
        )

    @property
    def point(self) -> ResumePoint:
        """Where ingest goes on."""
        return ResumePoint(closed=self.closed, last_trade_id=self.last_trade_id, last_row=self.last_row)


def _larger(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


async def in_streams(client: "redis.asyncio.Redis", instrument: str) -> Standing:
    """How far the streams of an instrument reach."""
    keys = [redis_keys.market_stream(instrument, stream) for stream in redis_keys.MARKET_STREAMS]
    tails = {key: await stream_tail(client, key) for key in keys}
    ids = {key: tail for key, tail in tails.items() if tail is not None}
    return Standing(
        closed=ids.get(redis_keys.market_features(instrument)),
        last_row=await _last_row(client, redis_keys.market_features(instrument)),
        last_trade_id=ids.get(redis_keys.market_trades(instrument)),
        ids=ids,
    )


async def _last_row(client: "redis.asyncio.Redis", key: str) -> int | None:
    """Time of the newest features row still in the stream."""
    for _, fields in cast(list[Any], await client.xrevrange(key, count=LOOK_BACK)):
        if int(fields[b"n"]):
            return int(decode(tables.FEATURES, fields[b"data"])[str(tables.FEATURES.time)].iloc[-1])
    return None


def in_lake(
    lake: Lake, instruments: Sequence[Instrument], streams: Mapping[str, Standing], generation: str | None, lost: bool
) -> dict[str, Standing]:
    """How far the lake has come with each instrument whose streams do not hold what it has taken in; no others.

    Parameters
    ----------
    streams : mapping of str to Standing
        How far the streams reach, by instrument.
    generation : str or None
        Id of this Redis' life.
    lost : bool
        The streams are known to have lost entries: ask for all.
    """
    names = redis_keys.MARKET_STREAMS
    streams_of = {i.key: [redis_keys.market_stream(i.key, name) for name in names] for i in instruments}
    offsets = lake.offsets([key for keys in streams_of.values() for key in keys])
    found = {}
    for instrument in instruments:
        # Features alone are judged by: they never rest, so theirs is the offset that belongs to the newest life.
        features = offsets.get(redis_keys.market_features(instrument.key))
        if features is not None and (lost or not _holds(streams[instrument.key].closed, features, generation)):
            mine = {key: offsets[key] for key in streams_of[instrument.key] if key in offsets}
            found[instrument.key] = _standing(lake, instrument, mine)
    return found


def _holds(tail: int | None, offset: Offset, generation: str | None) -> bool:
    """Whether a stream with this tail is the one that was read up to the offset."""
    return tail is not None and offset.generation == generation and offset.last_id <= tail


def _standing(lake: Lake, instrument: Instrument, offsets: Mapping[str, Offset]) -> Standing:
    lake.ensure([tables.FEATURES, tables.TRADES])
    taken = offsets[redis_keys.market_features(instrument.key)].last_id
    progress = lake.progress(asset_name(tables.FEATURES), instrument.group)
    around = progress.progress if progress is not None else taken
    features = _newest(lake, tables.FEATURES, instrument.key, around, ["time"])
    trades = _newest(lake, tables.TRADES, instrument.key, around, ["trade_id", "event_time"])
    last_row = int(features["time"].max()) if len(features) else None
    return Standing(
        # Runs have computed up to the progress: a row that came for a time before it would be behind their backs.
        closed=_larger(last_row, max(taken, around)),
        last_row=last_row,
        last_trade_id=int(trades["trade_id"].max()) if len(trades) else None,
        last_trade_time=int(trades["event_time"].max()) if len(trades) else None,
        ids={key: offset.last_id for key, offset in offsets.items()},
    )


def _newest(lake: Lake, table: Table, instrument: str, around: int, columns: Sequence[str]) -> pd.DataFrame:
    rows = table.empty()[list(columns)]
    for reach in _NEWEST:
        rows = lake.read(table, start=around - reach, instruments=[instrument], columns=columns)
        if len(rows):
            break
    return rows


@dataclass(slots=True)
class First:
    """What a spill begins with, of one instrument; None where it has nothing."""

    trade_id: int | None = None
    trade_time: int | None = None
    row: int | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be looked for."""
        return self.trade_id is not None and self.row is not None


def first_of(records: Iterable[bytes], instruments: Sequence[str]) -> dict[str, First]:
    """The first trade and the first features row of each instrument in a spill's records."""
    first = {instrument: First() for instrument in instruments}
    by_key = {redis_keys.market_trades(key): value for key, value in first.items()}
    by_key |= {redis_keys.market_features(key): value for key, value in first.items()}
    for record in records:
        try:
            additions = Batch.decode(record).additions
        except BatchError:
            continue  # the outbox says so when it comes to it
        for addition in additions:
            if (known := by_key.get(addition.key)) is not None:
                _note_first(known, addition)
        if all(known.complete for known in first.values()):
            break
    return first


def _note_first(first: First, addition: Addition) -> None:
    data = dict(addition.fields)["data"]
    if addition.key.endswith(redis_keys.TRADES) and first.trade_id is None:
        trades = decode(tables.TRADES, data)
        if len(trades):
            newest = trades.sort_values("trade_id").iloc[0]
            first.trade_id, first.trade_time = int(newest["trade_id"]), int(newest["event_time"])
    elif addition.key.endswith(redis_keys.FEATURES) and first.row is None:
        rows = decode(tables.FEATURES, data)
        if len(rows):
            first.row = int(rows["time"].min())


async def bridge_over(
    instrument: Instrument, standing: Standing, first: First, fetch_trades: FetchTrades, grid: int
) -> list[Addition]:
    """What is to be sent ahead of a spill that begins behind a hole: the trades of the hole, and the gap it leaves.

    Parameters
    ----------
    standing : Standing
        How far streams and lake reach, together.
    first : First
        Where the spill goes on.
    grid : int
        Width of the features grid, µs.
    """
    additions, gaps = [], []
    last = standing.last_trade_id
    if last is not None and first.trade_id is not None and first.trade_id > last + 1:
        trades = await _between(instrument.key, last, first.trade_id, fetch_trades)
        if trades:
            key, rows = redis_keys.market_trades(instrument.key), [_row(instrument, t, standing.closed) for t in trades]
            additions.append(_addition(key, tables.TRADES, trades[-1].trade_id, rows))
        if len(trades) < first.trade_id - last - 1 and first.trade_time is not None:
            start = first.trade_time - 1 if standing.last_trade_time is None else standing.last_trade_time
            end = ceil_to(first.trade_time, grid)
            gaps.append((instrument.key, "trades", min(floor_to(start, grid), end - grid), end, "unfilled"))
    if standing.last_row is not None and first.row is not None and first.row > standing.last_row + grid:
        gaps.append((instrument.key, "depth", standing.last_row, first.row, LOST))
    if gaps:
        # One below where a gap of the spill may end: an entry with its id would be refused.
        key, end = redis_keys.market_gaps(instrument.key), min(row[3] for row in gaps)
        additions.append(_addition(key, tables.FEED_GAPS, max(end - 1, standing.ids.get(key, 0) + 1), gaps))
    return additions


async def _between(instrument: str, last: int, until: int, fetch_trades: FetchTrades) -> list[Trade]:
    """Trades behind ``last`` and before ``until``, ascending, as far as REST has them."""
    found: list[Trade] = []
    while last + 1 < until:
        try:
            page = await fetch_trades(instrument, last + 1, min(TRADES_PAGE, until - last - 1))
        except REST_ERRORS as error:
            log.warning("trades that redis has lost cannot be fetched", instrument=instrument, error=_line(error))
            break
        news = [trade for trade in sorted(page, key=attrgetter("trade_id")) if last < trade.trade_id < until]
        if not news:
            break
        found += news
        last = news[-1].trade_id
    return found


def _row(instrument: Instrument, trade: Trade, closed: int | None) -> tuple[Any, ...]:
    late = closed is not None and trade.event_time <= closed
    flags = tables.FLAG_FILLED_BY_REST | trade_flags(instrument, trade.price, trade.quantity)
    times = (trade.event_time, trade.received_time)
    return (instrument.key, trade.trade_id, *times, trade.price, trade.quantity, trade.is_buyer_maker, late, flags)


def _addition(key: str, table: Table, sequence: int, rows: Sequence[tuple[Any, ...]]) -> Addition:
    return Addition(key, entry_id(sequence), (("n", str(len(rows)).encode()), ("data", encode(table, rows))))


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


class Resumption:
    """One start of a lane: :meth:`begin` before the spill is sent, :meth:`points` after it.

    Parameters
    ----------
    client : redis.asyncio.Redis
        The bus.
    open_lake : callable
        The lake of this process; used in threads.
    fetch_trades : callable
        Trades by REST.
    grid : int
        Width of the features grid, µs.
    lost : bool
        An outbox of this process has found that Redis had lost entries.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        instruments: Sequence[Instrument],
        open_lake: Callable[[], Lake],
        fetch_trades: FetchTrades,
        grid: int,
        *,
        lost: bool,
    ) -> None:
        self._client = client
        self._instruments = tuple(instruments)
        self._open_lake = open_lake
        self._fetch_trades = fetch_trades
        self._grid = grid
        self._lost = lost
        self._lake: dict[str, Standing] = {}

    async def begin(self, outbox: Outbox) -> None:
        """Find out what Redis has lost, and let the outbox send: what closes the hole, then what is on disk."""
        streams, generation = await self._patiently(self._ask_redis)
        self._lake = await self._ask_lake(streams, generation)
        lost = self._lost or bool(self._lake)
        bridge = await self._bridge(streams, outbox.spill) if lost and not outbox.spill.empty else None
        if self._lake:
            log.error(
                "redis has lost entries that the lake knows, going on behind the lake",
                instruments={key: str(standing.point) for key, standing in self._lake.items()},
                bridge_records=bridge.records if bridge is not None else 0,
            )
        tails = {key: tail for standing in streams.values() for key, tail in standing.ids.items()}
        outbox.release(bridge, tails, renew_generation=lost)

    async def points(self) -> dict[str, Standing]:
        """How far each instrument has come, now that Redis has everything an earlier process had."""
        streams, _ = await self._patiently(self._ask_redis)
        return {key: standing.furthest(self._lake.get(key, Standing())) for key, standing in streams.items()}

    async def _ask_redis(self) -> tuple[dict[str, Standing], str | None]:
        generation = await self._client.get(redis_keys.MARKET_GENERATION)
        streams = {instrument.key: await in_streams(self._client, instrument.key) for instrument in self._instruments}
        return streams, cast(bytes, generation).decode() if generation is not None else None

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until Redis answers; one line when it does not."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await ask()
            except REDIS_ERRORS as error:
                if pause == FIRST_PAUSE:
                    log.warning("redis does not tell where the streams end, will ask again", error=_line(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _ask_lake(self, streams: Mapping[str, Standing], generation: str | None) -> dict[str, Standing]:
        """What the lake has taken in and Redis has lost.

        Streams that are there may be believed while the lake is away. Without streams either everything begins here or
        everything was lost, and only the lake knows.
        """
        empty = all(standing.closed is None for standing in streams.values())
        needed = self._lost or empty or generation is None
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(None if needed else LAKE_SECONDS):
                    return await asyncio.to_thread(self._in_lake, streams, generation)
            except AddressesError:
                return {}  # there is no lake
            except Exception as error:  # whatever PostgreSQL, DuckDB or the file system say
                if not needed:
                    log.warning("lake does not tell how far it is, the streams do", error=_line(error))
                    return {}
                if pause == FIRST_PAUSE:
                    log.warning("streams are missing and the lake does not tell how far it is", error=_line(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _in_lake(self, streams: Mapping[str, Standing], generation: str | None) -> dict[str, Standing]:
        return in_lake(self._open_lake(), self._instruments, streams, generation, self._lost)

    async def _bridge(self, streams: Mapping[str, Standing], spill: Spill) -> Batch | None:
        first = await asyncio.to_thread(first_of, spill.records(), list(streams))
        additions: list[Addition] = []
        for instrument in self._instruments:
            key = instrument.key
            standing = streams[key].furthest(self._lake.get(key, Standing()))
            additions += await bridge_over(instrument, standing, first[key], self._fetch_trades, self._grid)
        records = sum(int(dict(addition.fields)["n"]) for addition in additions)
        return Batch(tuple(additions), records) if additions else None
