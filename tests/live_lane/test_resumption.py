"""Where a lane goes on when Redis has lost entries, worked out by hand."""

from typing import Any

from resources.lake import Offset, Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import market_features, market_gaps, market_trades
from services.live_lane.batch import Addition, Batch
from services.live_lane.resumption import LOST, First, Standing, bridge_over, first_of, in_lake
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND
from signal_assets.instrument import Instrument
from signal_assets.market import tables
from signal_assets.market.messages import Trade
from signal_assets.market.stream_codec import decode, encode
from tests.lake_rows import frame_of

ONE = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
TWO = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1_000_000, lot_size=1_000)
START = 19_943 * DAY


def trade(number: int) -> Trade:
    """One a second; trade 10 is at second 10."""
    time = START + number * SECOND
    return Trade(ONE.key, number, time, time, 6_000_000_000_000, 1_000, True, clock=time)


def rest(known: range) -> Any:
    """REST that knows these trades, three at a time."""

    async def fetch(instrument: str, from_id: int, limit: int) -> list[Trade]:
        assert instrument == ONE.key
        return [trade(number) for number in known if number >= from_id][: min(limit, 3)]

    return fetch


STANDING = Standing(
    closed=START + 10 * SECOND,
    last_row=START + 10 * SECOND,
    last_trade_id=10,
    last_trade_time=START + 10 * SECOND,
    ids={market_gaps(ONE.key): START + 5 * SECOND},
)
FIRST = First(trade_id=20, trade_time=START + 20 * SECOND, row=START + 19 * SECOND)


def rows(additions: list[Addition], key: str, table: Any) -> list[tuple[Any, ...]]:
    (addition,) = [addition for addition in additions if addition.key == key]
    return [tuple(row) for row in decode(table, dict(addition.fields)["data"]).itertuples(index=False)]


async def test_the_hole_before_a_spill_is_filled_by_rest_and_says_what_is_missing() -> None:
    additions = await bridge_over(ONE, STANDING, FIRST, rest(range(0, 100)), SECOND)
    trades = rows(additions, market_trades(ONE.key), tables.TRADES)
    assert [row[1] for row in trades] == list(range(11, 20))  # 10 is there, 20 is on disk
    assert {row[8] for row in trades} == {tables.FLAG_FILLED_BY_REST}
    assert not any(row[7] for row in trades)  # all behind the last closed grid point: none is late
    assert rows(additions, market_gaps(ONE.key), tables.FEED_GAPS) == [
        (ONE.key, "depth", START + 10 * SECOND, START + 19 * SECOND, LOST)
    ]
    ids = {addition.key: addition.id for addition in additions}
    assert ids[market_trades(ONE.key)] == "19-0"
    assert ids[market_gaps(ONE.key)] == f"{START + 19 * SECOND - 1}-0"  # below that of a gap that ends there


async def test_trades_that_rest_does_not_have_are_a_gap_too() -> None:
    additions = await bridge_over(ONE, STANDING, FIRST, rest(range(0, 15)), SECOND)
    assert [row[1] for row in rows(additions, market_trades(ONE.key), tables.TRADES)] == [11, 12, 13, 14]
    assert rows(additions, market_gaps(ONE.key), tables.FEED_GAPS)[0] == (
        *(ONE.key, "trades", START + 10 * SECOND, START + 20 * SECOND, "unfilled"),
    )


async def test_without_a_hole_nothing_is_sent() -> None:
    follows = First(trade_id=11, trade_time=START + 11 * SECOND, row=START + 11 * SECOND)
    assert await bridge_over(ONE, STANDING, follows, rest(range(0)), SECOND) == []
    overlaps = First(trade_id=4, trade_time=START + 4 * SECOND, row=START + 4 * SECOND)
    assert await bridge_over(ONE, STANDING, overlaps, rest(range(0)), SECOND) == []
    assert await bridge_over(ONE, Standing(), FIRST, rest(range(0)), SECOND) == []  # nothing is known before it
    assert await bridge_over(ONE, STANDING, First(), rest(range(0)), SECOND) == []  # ingest closes it


def test_the_first_rows_of_a_spill() -> None:
    def batch(second: int, numbers: list[int]) -> bytes:
        found = frame_of(tables.TRADES, [{"instrument": ONE.key, "trade_id": n, "event_time": n} for n in numbers])
        data = encode(tables.TRADES, [tuple(row) for row in found.itertuples(index=False)])
        marker = (("n", b"0"), ("data", encode(tables.FEATURES, [])))
        return Batch(
            (
                Addition(market_trades(ONE.key), f"{max(numbers)}-0", (("n", b"1"), ("data", data))),
                Addition(market_features(ONE.key), f"{second}-0", marker),
                Addition("market:dead", "*", (("reason", b"x"),)),
            ),
            len(numbers),
        ).encode()

    first = first_of([b"damaged", batch(1, [7, 6]), batch(2, [8])], [ONE.key, TWO.key])
    assert first[ONE.key] == First(trade_id=6, trade_time=6, row=None)  # markers carry no row
    assert first[TWO.key] == First()


def lake_up_to(second: int, generation: str) -> MemoryLake:
    lake, end = MemoryLake(), START + second * SECOND
    rows_of = [{"instrument": ONE.key, "time": START + n * SECOND} for n in range(1, second)]
    trades = [{"instrument": ONE.key, "trade_id": n, "event_time": START + n * SECOND} for n in range(1, second)]
    with lake.transaction(asset=asset_name(tables.FEATURES), run_id="one") as unit:
        unit.append(tables.FEATURES, frame_of(tables.FEATURES, rows_of))
        unit.append(tables.TRADES, frame_of(tables.TRADES, trades))
        unit.move_offset(market_features(ONE.key), None, Offset(generation, end))
        unit.advance(asset_name(tables.FEATURES), "crypto", None, Progress(START, end))
    return lake


def test_the_lake_is_asked_only_where_it_has_come_further() -> None:
    lake, end = lake_up_to(10, "a"), START + 10 * SECOND
    further = {ONE.key: Standing(closed=end + SECOND), TWO.key: Standing()}
    behind = {ONE.key: Standing(closed=end - SECOND), TWO.key: Standing()}
    assert in_lake(lake, [ONE, TWO], further, "a", False) == {}
    for streams, generation, lost in ((behind, "a", False), (further, "b", False), (further, "a", True)):
        found = in_lake(lake, [ONE, TWO], streams, generation, lost)
        assert found.keys() == {ONE.key}  # of the other one nothing was ever taken in
        standing = found[ONE.key]
        assert standing.closed == end
        assert standing.last_row == end - SECOND  # the last grid point closed without a row
        assert (standing.last_trade_id, standing.last_trade_time) == (9, end - SECOND)
