"""Every key this system writes to Redis, in one place.

Belongs here: names, and how instrument, strategy and time enter them. Does not belong here: clients, or what is stored
(``resources/redis_streams``, the services).
"""

from typing import Final

MARKET_GENERATION: Final = "market:generation"
"""Random id of this Redis: readers that remember another one know that the streams were lost and began anew."""

MARKET_DEAD: Final = "market:dead"
"""Stream of messages that were not understood, with the reason."""

MARKET_QUALITY: Final = "market:quality"
"""Stream of data-quality events: rows that were kept although something about them is odd."""

SYSTEM_METRICS: Final = "system:metrics"
"""Stream of what the machine itself is doing: processor, memory, network, disk."""

ANOMALIES: Final = "anomalies"
"""Stream of anomalies, each of them once, cut by age."""

ANOMALIES_KNOWN: Final = "anomalies:known"
"""Ids of the anomalies that have been added to the stream, by when (ms): what stands there is not added again."""

ANOMALY_CONFIGURATION: Final = "anomalies:configuration"
"""Parameters by which anomalies are judged, JSON."""

ANOMALIES_HANDED_OVER: Final = "anomalies:handed_over"
"""Id of the last entry of the stream that the memory interface has handed over or made a dead letter."""

ANOMALY_MEMORY: Final = "anomalies:memory"
"""Stream of anomalies in the words of the system they are handed to, each of them once, cut by age."""

ANOMALY_MEMORY_KNOWN: Final = "anomalies:memory:known"
"""Ids of the records in that stream, by when (ms)."""

SIGNALS: Final = "signals"
FREQTRADE_SIGNALS: Final = "freqtrade:signals"
DEPTH_SNAPSHOT_DEFAULT: Final = "depth_snapshot_5000"
TRADES_WINDOW_DEFAULT: Final = "trades_window"

TRADES: Final = "trades"
DEPTH: Final = "depth"
FEATURES: Final = "features"
GAPS: Final = "gaps"
MARKET_STREAMS: Final = (TRADES, DEPTH, GAPS, FEATURES)
"""The four streams of an instrument, in the order in which a flush writes them: features last, so that whoever sees
their watermark finds everything below it."""


LANES: Final = "live:lanes"
"""Hash of the live lanes: until when each lives by Redis' clock (ms), which groups it may lead and which it leads."""


def lane_lease(group: str) -> str:
    """Exists while a live lane leads a group: its token and name."""
    return f"live:lease:{group}"


def lane_holder(group: str) -> str:
    """Token and name of the live lane that leads a group or was the last to do so; what leads writes only under it."""
    return f"live:holder:{group}"


def lane_token(group: str) -> str:
    """Highest token ever given for a group."""
    return f"live:token:{group}"


def market_stream(instrument: str, stream: str) -> str:
    """Micro-batches of one instrument; ``stream`` is one of :data:`MARKET_STREAMS`.

    Examples
    --------
    >>> market_stream("BTCFDUSD.BINANCE", FEATURES)
    'market:BTCFDUSD.BINANCE:features'
    """
    if stream not in MARKET_STREAMS:
        raise ValueError(f"no market stream {stream!r}; there are {', '.join(MARKET_STREAMS)}")
    return f"market:{instrument}:{stream}"


def market_trades(instrument: str) -> str:
    """Trades; entry id = id of the last trade in it."""
    return market_stream(instrument, TRADES)


def market_depth(instrument: str) -> str:
    """Depth snapshots; entry id = event time of the last one."""
    return market_stream(instrument, DEPTH)


def market_features(instrument: str) -> str:
    """Features rows and watermarks; entry id = watermark."""
    return market_stream(instrument, FEATURES)


def market_gaps(instrument: str) -> str:
    """Feed gaps; entry id = end of the gap, or one more than the last id where that is higher."""
    return market_stream(instrument, GAPS)


def depth_snapshot(symbol: str) -> str:
    """Newest full snapshot, JSON."""
    return f"depth_snapshot_5000:{symbol}"


def trades_window(symbol: str) -> str:
    """Minutes of the 48 h window, list."""
    return f"trades_window:{symbol}"


def market_data_history(symbol: str) -> str:
    """Newest candles as JSON records."""
    return f"market_data:{symbol}:history"


def candles_recent(pair: str, timeframe: str) -> str:
    """Candle cache of one time frame."""
    return f"candles:{pair}:{timeframe}:recent"


def candles_latest(pair: str) -> str:
    """Newest candle of a pair."""
    return f"candles:{pair}:latest"


def strategy_signal(strategy: str, symbol: str, timestamp: int) -> str:
    """One signal of a strategy."""
    return f"strategy_engine:{strategy}:{symbol}:{timestamp}"


def performance_history(strategy_id: str) -> str:
    """Performance history of a strategy, JSON."""
    return f"strategy_engine:performance_history:{strategy_id}"


def component_configuration(component: str) -> str:
    """Configuration of a component, JSON."""
    return f"strategy_engine:config:{component}"


def emitted_signal(signal_id: str) -> str:
    """Guard of one signal: while it stands, the signal has left; its value is the id of the stream entry."""
    return f"signals:emitted:{signal_id}"


def signal_arbiter(pair: str, timeframe: str, kind: str) -> str:
    """De-duplication arbiter of a kind of signal, ``strategy:action``: event time and id of the one that holds it."""
    return f"signal:{pair}:{timeframe}:{kind}"


def anomaly_counts(span: str, start: int) -> str:
    """How many anomalies there were in a minute, an hour or a day: by ``series|severity``, hash.

    Parameters
    ----------
    span : str
        ``minute``, ``hour`` or ``day``.
    start : int
        Its beginning in seconds since 1970, UTC.

    Examples
    --------
    >>> anomaly_counts("hour", 1736208000)
    'anomalies:counts:hour:1736208000'
    """
    return f"anomalies:counts:{span}:{start}"


def anomaly_health(group: str, detector: str) -> str:
    """How a detector of a group does: last point, lag, failures; hash that expires."""
    return f"anomalies:health:{group}:{detector}"


def analysis_results(symbol: str) -> str:
    """Newest market analysis."""
    return f"analysis_results:{symbol}"


def dead_letters(stream: str) -> str:
    """Dead letters of a stream."""
    return f"{stream}:dead"
