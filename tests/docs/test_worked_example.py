"""The figures of docs/worked-example.md, by the code itself: the page's own messages through every table."""

import json
import math
import re
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from resources.exchange.binance_messages import MessageParser
from resources.strategy_settings import StrategySettings
from services.live_lane.group_engine import GroupEngine
from signal_assets.aggregates.dollar_depth import dollar_depth_rows
from signal_assets.aggregates.dollar_trades import dollar_trades_rows
from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.folds import anomalies
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.tables import ANOMALIES, INCIDENTS, LABELS, METRICS, SCORES
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND
from signal_assets.execution.folds import execution
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import DEPLOYMENTS, FILLS, ORDERS, POSITIONS
from signal_assets.fixed_point import SCALE, parse_fixed
from signal_assets.fold import frame_of, records_of
from signal_assets.instrument import Instrument
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.recent_performance import recent_performance_rows
from signal_assets.learning.regimes import regime_rows
from signal_assets.learning.tables import IN_FORCE, RECENT_PERFORMANCE, REGIMES, THRESHOLDS
from signal_assets.learning.thresholds import threshold_rows
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.window_kernels import price_zone_rows, value_area_rows, wave_peak_rows
from signal_assets.market.ingest import IngestSettings, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, TRADES
from signal_assets.performance.alert_rows import alert_rows
from signal_assets.performance.folds import equity, trade_log
from signal_assets.performance.metric_rows import metric_rows
from signal_assets.performance.parameters import PerformanceParameters
from signal_assets.performance.tables import DAILY_EQUITY, EQUITY, TRADE_LOG
from signal_assets.performance.tables import METRICS as RECORD_METRICS
from signal_assets.signals.folds import signals
from signal_assets.signals.parameters import ConfidenceWeights, SignalParameters
from signal_assets.signals.signal_record import EmittedSignal, signal_fields
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.stage_tables import TABLES
from signal_assets.strategies.folds import strategy_fold, strategy_parameters
from signal_assets.strategies.tables import strategy_table
from signal_assets.strategies.trend_following.moving_average_crossover import MovingAverageCrossoverParameters
from signal_assets.table import Table
from signal_assets.window import Window
from tests.docs.page import DOCS, check_columns, check_rows, is_number, last_cells, tables

PAGE = DOCS / "worked-example.md"
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
POINT = 1_723_161_256 * SECOND  # 2024-08-08T23:54:16Z
CLOSE = 1_723_161_300 * SECOND  # 23:55:00
WINDOW = Window(CLOSE - MINUTE, CLOSE)
MIDNIGHT = CLOSE + 5 * MINUTE
CROSSOVER = "moving_average_crossover"
PARAMETERS = {BTC.key: LevelParameters()}


def levels(*pairs: tuple[str, str]) -> list[tuple[int, int]]:
    return [(parse_fixed(price), parse_fixed(quantity)) for price, quantity in pairs]


@pytest.fixture(scope="module")
def raw() -> dict[str, pd.DataFrame]:
    """The raw tables after the page's messages; an update before and one after them move the clock."""
    parser = MessageParser([BTC])
    block = re.search(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    ingest = VenueIngest([BTC], IngestSettings())
    ingest.receive(DepthUpdate(BTC.key, POINT - 10 * SECOND, 0, 999, 999, [], []))
    (request,) = ingest.requests()
    bids = levels(("61737.62", "2"), ("61736.10", "1.5"), ("61735.00", "12"))
    asks = levels(("61737.63", "1"), ("61738.40", "3"))
    ingest.answer_snapshot(request, DepthSnapshot(BTC.key, 999, bids, asks))
    ingest.receive(DepthUpdate(BTC.key, POINT - 9 * SECOND, 0, 1000, 1000, [], []))
    for line in block.group(1).splitlines():
        suffix = "trade" if '"e":"trade"' in line else "depth@100ms"
        message = parser.parse(0, f'{{"stream":"btcfdusd@{suffix}","data":{line}}}'.encode())
        assert message is not None
        ingest.receive(message)
    ingest.receive(DepthUpdate(BTC.key, CLOSE + MINUTE + SECOND, 0, 1002, 1002, [], []))
    output = ingest.drain(BTC.key)

    def frame(table: Table, rows: list[tuple[object, ...]]) -> pd.DataFrame:
        return table.conform(pd.DataFrame(rows, columns=[column.name for column in table.columns]))

    return {
        "trades": frame(TRADES, output.trades),
        "features": frame(FEATURES, output.features),
        "depth": frame(DEPTH_SNAPSHOTS, output.depth_snapshots),
    }


def test_trade(raw: dict[str, pd.DataFrame]) -> None:
    (row,) = raw["trades"].to_dict("records")
    assert (row["trade_id"], row["event_time"], row["price"], row["quantity"]) == (
        100,
        POINT - SECOND + 207_000,
        6_173_763_000_000,
        SCALE // 2,
    )
    assert not row["is_buyer_maker"]
    assert not row["late"]


def test_features(raw: dict[str, pd.DataFrame]) -> None:
    rows = raw["features"]
    (row,) = rows[rows["time"] == POINT].to_dict("records")
    assert (row["best_bid"], row["bid_quantity"]) == (6_173_762_000_000, 2 * SCALE)
    assert (row["best_ask"], row["ask_quantity"]) == (6_173_763_000_000, SCALE // 2)
    assert (row["mid_price"], row["spread"]) == (61_737.625, SCALE // 100)
    assert row["imbalance_1"] == pytest.approx(0.6)
    assert row["imbalance_5"] == pytest.approx(12 / 19)
    assert row["imbalance_20"] == row["imbalance_5"]
    assert row["order_flow_imbalance"] == SCALE // 2
    assert (row["trade_count"], row["buy_quantity"], row["sell_quantity"]) == (1, SCALE // 2, 0)
    assert (row["last_price"], row["last_update_id"]) == (6_173_763_000_000, 1001)


def test_depth_snapshot(raw: dict[str, pd.DataFrame]) -> None:
    rows = raw["depth"]
    (row,) = rows[rows["event_time"] == CLOSE].to_dict("records")
    assert (list(row["bid_quantity"]), list(row["ask_quantity"])) == (
        [2 * SCALE, 3 * SCALE // 2, 12 * SCALE],
        [SCALE // 2, 3 * SCALE],
    )


def test_aggregates(raw: dict[str, pd.DataFrame]) -> None:
    trades = dollar_trades_rows(WINDOW, [BTC], raw["trades"])
    assert trades[["minute", "price_bucket", "buy_quantity", "sell_quantity", "trade_count"]].values.tolist() == [
        [CLOSE, 61_737 * SCALE, SCALE // 2, 0, 1]
    ]
    depth = dollar_depth_rows(WINDOW, [BTC], raw["depth"])
    assert {
        (side, bucket // SCALE): (Decimal(quantity) / SCALE, count)
        for side, bucket, quantity, count in depth[["side", "price_bucket", "quantity", "level_count"]].values.tolist()
    } == {
        ("ask", 61_737): (Decimal("0.5"), 1),
        ("ask", 61_738): (Decimal(3), 1),
        ("bid", 61_735): (Decimal(12), 1),
        ("bid", 61_736): (Decimal("1.5"), 1),
        ("bid", 61_737): (Decimal(2), 1),
    }


def test_levels(raw: dict[str, pd.DataFrame]) -> None:
    trades = dollar_trades_rows(WINDOW, [BTC], raw["trades"])
    depth = dollar_depth_rows(WINDOW, [BTC], raw["depth"])
    features = raw["features"][["instrument", "time", "best_bid", "best_ask"]]

    peaks = wave_peak_rows(WINDOW, [BTC], trades, depth, features, PARAMETERS)
    assert peaks["time"].tolist() == [CLOSE] * 3
    assert peaks["profile"].tolist() == ["depth"] * 3
    assert (peaks["price"] == 61_735 * SCALE).all()
    confidence = dict(zip(peaks["method"], peaks["confidence"], strict=True))
    assert confidence == pytest.approx({"statistical": 0.553050, "volume": 0.511364, "combined": 0.890802}, abs=1e-6)
    for name, value in (("z_score", 1.717812), ("prominence", 10.5), ("distance_sigma", -0.699328), ("width", 0.9375)):
        assert peaks[name].tolist() == pytest.approx([value] * 3, abs=1e-6), name

    (zone,) = price_zone_rows(WINDOW, [BTC], peaks, trades, depth, features, PARAMETERS).to_dict("records")
    assert (zone["low"], zone["high"], zone["side"]) == (61_735 * SCALE, 61_736 * SCALE, "support")
    assert (zone["volume"], zone["touches"]) == (12 * SCALE, 0)
    assert zone["strength"] == pytest.approx(12 / 19)
    assert zone["confidence"] == pytest.approx(0.890802, abs=1e-6)

    areas = value_area_rows(WINDOW, [BTC], trades, features, PARAMETERS)
    assert sorted(areas["expansion"]) == ["one_row", "two_row"]
    for name in ("point_of_control", "value_area_low", "value_area_high"):
        assert areas[name].tolist() == [61_737 * SCALE] * 2, name
    assert areas[["volume", "total_volume"]].values.tolist() == [[SCALE // 2, SCALE // 2]] * 2


def quoted(like: Any, time: int, bid: str, ask: str, close: str) -> Any:
    """A features row at ``time`` with one level a side, of a second in which nothing was traded."""
    best_bid, best_ask = parse_fixed(bid), parse_fixed(ask)
    one = np.array([SCALE])
    return like._replace(
        time=time,
        best_bid=best_bid,
        best_ask=best_ask,
        mid_price=(best_bid + best_ask) / 2 / SCALE,
        bid_price_20=np.array([best_bid]),
        ask_price_20=np.array([best_ask]),
        bid_quantity_20=one,
        ask_quantity_20=one,
        last_price=parse_fixed(close),
    )


@pytest.fixture(scope="module")
def features(raw: dict[str, pd.DataFrame]) -> list[Any]:
    """The page's features rows and those it supposes before and after them."""
    recorded = records_of(FEATURES, raw["features"])
    later = (CLOSE + 150 * SECOND, CLOSE + 3 * MINUTE, MIDNIGHT)
    return [
        quoted(recorded[0], CLOSE - 2 * MINUTE, "61699.99", "61700.01", "61700"),
        quoted(recorded[0], CLOSE - MINUTE, "61649.99", "61650.01", "61650"),
        *recorded,
        *(quoted(recorded[0], time, "62010", "62010.01", "61737.63") for time in later),
    ]


@pytest.fixture(scope="module")
def made(features: list[Any]) -> dict[Table, pd.DataFrame]:
    """Every fold's rows, all of them stepped by one engine."""
    strategies = strategy_parameters(StrategySettings())
    strategies[CROSSOVER] = MovingAverageCrossoverParameters(fast_bars=1, slow_bars=2, timeframes=("1m",), atr_bars=1)
    folds = [
        anomalies(AnomalyParameters()),
        *(strategy_fold(name, parameters) for name, parameters in strategies.items()),
        signals(SignalParameters()),
        execution(ExecutionParameters()),
        trade_log(),
        equity(PerformanceParameters()),
    ]
    nothing_learned = {table.name: () for table in (*IN_FORCE, LABELS)}
    engine = GroupEngine([BTC], folds, lambda start: nothing_learned, begin=features[0].time - 1)
    engine.take(BTC.key, features, MIDNIGHT)
    rows: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in TABLES}
    while (step := engine.step()) is not None:
        for name, found in step.rows.items():
            rows[name].extend(found)
    assert engine.failed == {}
    return {table: frame_of(table, rows[table.name]) for table in TABLES}


def the_only(table: Table, rows: pd.DataFrame) -> Any:
    (record,) = records_of(table, rows)
    return record


def check_numbers(told: dict[str, str], computed: dict[str, float]) -> None:
    assert told.keys() <= computed.keys()
    assert {name: computed[name] for name, text in told.items() if not is_number(text, computed[name])} == {}


def test_metrics_of_the_market(made: dict[Table, pd.DataFrame]) -> None:
    rows = made[METRICS]
    rows = rows[rows["time"] == POINT + 4 * SECOND]
    names = rows["series"].str.removeprefix(f"market.{BTC.key}.")
    (cells,) = tables(PAGE, METRICS.name)
    assert list(last_cells(cells)) == names.tolist()
    check_numbers(last_cells(cells), dict(zip(names, rows["value"], strict=True)))


def test_an_anomaly_and_its_incident(features: list[Any]) -> None:
    noon = MIDNIGHT - 12 * HOUR
    machine = AnomalyMachine(
        [BTC], AnomalyParameters(features_grid=10 * SECOND, minimum_points=4, alerting=("ensemble",), silent=())
    )
    rows: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in (METRICS, SCORES, ANOMALIES, INCIDENTS)}
    for time, trades in [(noon + 10 * (i + 1) * SECOND, 10 * rate) for i, rate in enumerate((1, 3, 2, 4, 7))] + [
        (noon + 350 * SECOND, 0)
    ]:
        row = features[0]._replace(time=time, trade_count=trades)
        for name, found in machine.step(time, {FEATURES.name: [row]}).items():
            rows[name].extend(found)
    scores = [row for row in rows[SCORES.name] if row[1].endswith("trade_rate") and row[2] == noon + 50 * SECOND]
    (cells,) = tables(PAGE, SCORES.name)
    assert list(last_cells(cells)) == [row[3] for row in scores]
    check_numbers(last_cells(cells), {row[3]: row[4] for row in scores})
    check_columns(PAGE, ANOMALIES, the_only(ANOMALIES, frame_of(ANOMALIES, rows[ANOMALIES.name])))
    check_rows(PAGE, INCIDENTS, frame_of(INCIDENTS, rows[INCIDENTS.name]))


def test_a_proposal_becomes_a_signal(made: dict[Table, pd.DataFrame]) -> None:
    table = strategy_table(CROSSOVER)
    proposal = the_only(table, made[table])
    assert proposal.event_time == CLOSE
    check_columns(PAGE, table, proposal)

    signal = the_only(SIGNALS, made[SIGNALS])
    reasons = json.loads(signal.reasons)
    assert reasons["against"] == []
    checks, factors, columns = tables(PAGE, SIGNALS.name)
    for cells, column, kind in ((checks, -1, "checks"), (factors, -2, "factors")):
        assert set(last_cells(cells)) == set(reasons[kind])
        check_numbers(last_cells(cells, column), {name: score["score"] for name, score in reasons[kind].items()})
    check_numbers(last_cells(factors), asdict(ConfidenceWeights()))
    told = last_cells(columns)
    numbers = ("mean_score", "minimum_quality", "expected_edge", "opportunity_threshold")
    check_numbers({name: told[name] for name in numbers}, reasons)
    check_columns(PAGE, SIGNALS, signal, besides=numbers)


def test_a_signal_leaves(made: dict[Table, pd.DataFrame]) -> None:
    fields = signal_fields(EmittedSignal(the_only(SIGNALS, made[SIGNALS]), 0, "live"))
    (cells,) = tables(PAGE, EMITTED.name)
    assert last_cells(cells).items() <= fields.items()


def test_orders_fills_and_positions(made: dict[Table, pd.DataFrame]) -> None:
    deployments = made[DEPLOYMENTS]
    check_rows(PAGE, DEPLOYMENTS, deployments[deployments["strategy"] == CROSSOVER])
    check_rows(PAGE, ORDERS, made[ORDERS])
    check_rows(PAGE, FILLS, made[FILLS])
    check_rows(PAGE, POSITIONS, made[POSITIONS])


def test_performance(made: dict[Table, pd.DataFrame]) -> None:
    check_columns(PAGE, TRADE_LOG, the_only(TRADE_LOG, made[TRADE_LOG]))
    own = {table: made[table][made[table]["strategy"] == CROSSOVER] for table in (EQUITY, DAILY_EQUITY)}
    minutes = own[EQUITY]["time"].isin([CLOSE + MINUTE, CLOSE + 3 * MINUTE])
    check_rows(PAGE, EQUITY, own[EQUITY][minutes])
    day = the_only(DAILY_EQUITY, own[DAILY_EQUITY])
    assert day.time == MIDNIGHT
    check_columns(PAGE, DAILY_EQUITY, day)

    window, parameters = Window(MIDNIGHT - DAY, MIDNIGHT), PerformanceParameters()
    metrics = metric_rows(window, [BTC], made[DAILY_EQUITY], made[TRADE_LOG], parameters)
    values = dict(metrics.loc[metrics["name"] == CROSSOVER, ["metric", "value"]].itertuples(index=False))
    (cells,) = tables(PAGE, RECORD_METRICS.name)
    check_numbers(last_cells(cells), values)
    assert math.isnan(values["sharpe_ratio"])
    assert alert_rows(window, metrics, parameters).empty


def test_what_is_learned(made: dict[Table, pd.DataFrame], features: list[Any]) -> None:
    parameters = LearningParameters()
    regimes = regime_rows(Window(MIDNIGHT - DAY, MIDNIGHT), [BTC], frame_of(FEATURES, features), parameters)
    check_columns(PAGE, REGIMES, the_only(REGIMES, regimes))
    thresholds = threshold_rows(MIDNIGHT, BTC.group, made[SIGNALS], THRESHOLDS.empty(), parameters)
    check_rows(PAGE, THRESHOLDS, thresholds)
    records = recent_performance_rows(MIDNIGHT, BTC.group, made[TRADE_LOG], parameters)
    check_columns(PAGE, RECENT_PERFORMANCE, the_only(RECENT_PERFORMANCE, records[records["strategy"] == CROSSOVER]))
