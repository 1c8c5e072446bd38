"""Many stored books at once are divided into batches; each instrument's rows stay together and in order."""

from typing import Any

from resources.redis_keys import MARKET_STREAMS, market_features
from services.live_lane.dead_letters import quality_event
from services.live_lane.pending import DEPTH_WEIGHT, WEIGHT_AT_ONCE, Pending
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import decode
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, TRADES
from tests.live_lane.toy_folds import ONE, START, feature_rows

KEYS = [f"COIN{chr(65 + number)}USD.BINANCE" for number in range(20)]


def row(table: Any, **values: Any) -> tuple[Any, ...]:
    return tuple(values.get(column.name, [1] if column.type.is_list else 1) for column in table.columns)


def output(key: str) -> Output:
    features = feature_rows([START], missing=0.0)[ONE.key][0]
    return Output(
        trades=[row(TRADES, instrument=key, trade_id=7, event_time=START, received_time=START)],
        depth_snapshots=[row(DEPTH_SNAPSHOTS, instrument=key, event_time=START, received_time=START)],
        features=[(key, *features[1:])],
        watermark=START,
        reason="",
    )


def test_many_books_are_divided_and_nothing_is_left_out() -> None:
    pending = Pending()
    for key in KEYS:
        pending.add(key, output(key), since=1.5)
    pending.add_other(quality_event(KEYS[0], START, "kind", "detail"))
    batches = []
    while pending.records:
        assert pending.closed_since == 1.5
        batches.append(pending.compose())
    most = WEIGHT_AT_ONCE // DEPTH_WEIGHT
    assert len(batches) == -(-len(KEYS) // most) == 3
    assert pending.closed_since is None
    assert sum(batch.records for batch in batches) == 3 * len(KEYS) + 1
    seen = []
    for batch in batches:
        named = [addition for addition in batch.additions if addition.id != "*"]
        streams = [addition.key.rpartition(":")[2] for addition in named]
        # Whoever sees an instrument's watermark finds everything below it.
        assert streams == sorted(streams, key=MARKET_STREAMS.index)
        mine = {addition.key.split(":")[1] for addition in named}
        assert len(named) == 3 * len(mine)
        seen += [key for key in KEYS if key in mine]
        for key in mine:
            (features,) = [addition for addition in named if addition.key == market_features(key)]
            assert decode(FEATURES, dict(features.fields)["data"])["instrument"].tolist() == [key]
    assert seen == KEYS
    assert [addition.id for addition in batches[-1].additions][-1] == "*"


def test_rows_that_come_while_books_are_divided_follow_in_order() -> None:
    pending = Pending()
    for key in KEYS:
        pending.add(key, output(key), since=1.0)
    first = pending.compose()
    pending.add(KEYS[0], output(KEYS[0]), since=2.0)
    later = []
    while pending.records:
        later.append(pending.compose())
    assert first.additions[0].key.split(":")[1] == KEYS[0]
    assert [KEYS[0] in {addition.key.split(":")[1] for addition in batch.additions} for batch in later][-1]
    assert first.records + sum(batch.records for batch in later) == 3 * (len(KEYS) + 1)
