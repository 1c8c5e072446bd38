"""From the book and the trades to one features row per grid point.

Belongs here: order-flow imbalance, per-interval trade sums, the picture of the book at a grid point.
Does not belong here: when a grid point is captured or closed (``instrument_ingest``).
"""

from typing import Any

from signal_assets.fixed_point import MAXIMUM, SCALE
from signal_assets.market.messages import Trade
from signal_assets.market.order_book import Levels, OrderBook

TOP_LEVELS = 20


class FeatureGrid:
    """Accumulators of one instrument between grid points.

    Order-flow imbalance adds per diff, with best bid ``(P, q)`` before and ``(P', q')`` after it,
    ``q'·[P' ≥ P] − q·[P' ≤ P]`` and subtracts the mirrored term of the best ask. Source: Cont, Kukanov, Stoikov (2014),
    "The Price Impact of Order Book Events", eq. 10.

    Parameters
    ----------
    instrument : str
        Key of the instrument, first column of every row.
    grid : int
        Width of the grid, µs.
    """

    __slots__ = ("_best", "_captured", "_flow", "_grid", "_instrument", "_picture", "_top", "_traded", "last_price")

    def __init__(self, instrument: str, grid: int) -> None:
        self._instrument = instrument
        self._grid = grid
        self._flow = 0
        self._best = (0, 0, 0, 0)
        self._top: Levels | None = None
        self._picture: tuple[Any, ...] = ()
        self._captured: dict[int, tuple[tuple[Any, ...], int, int]] = {}
        self._traded: dict[int, list[int]] = {}
        self.last_price: int | None = None

    def add_trade(self, trade: Trade) -> None:
        """Count a trade for the grid point that ends its interval."""
        time, grid = trade.event_time, self._grid
        point = -(-time // grid) * grid
        sums = self._traded.get(point)
        if sums is None:
            sums = self._traded[point] = [0, 0, 0, 0]
        sums[0] += 1
        sums[2 if trade.is_buyer_maker else 1] += trade.quantity
        sums[3] = trade.price

    def rebase(self, book: OrderBook) -> None:
        """Take the book's best levels as they are, without counting the change as order flow (after a repair)."""
        self._best = book.best

    def add_flow(self, book: OrderBook) -> None:
        """Account for the change of the best levels by the diff just applied."""
        best, before = book.best, self._best
        if best == before:
            return
        bid, bid_quantity, ask, ask_quantity = best
        old_bid, old_bid_quantity, old_ask, old_ask_quantity = before
        flow = self._flow
        if bid >= old_bid:
            flow += bid_quantity
        if bid <= old_bid:
            flow -= old_bid_quantity
        if ask <= old_ask:
            flow -= ask_quantity
        if ask >= old_ask:
            flow += old_ask_quantity
        self._flow = flow
        self._best = best

    def capture(self, point: int, book: OrderBook, *, complete: bool) -> None:
        """Keep the book as it is at grid point ``point``; no row comes of it unless the interval was ``complete``."""
        flow, self._flow = self._flow, 0
        if not complete:
            return
        top = book.top(TOP_LEVELS)
        if top is not self._top:
            self._top = top
            self._picture = _picture(top)
        self._captured[point] = (self._picture, flow, book.last_update_id)

    def close(self, target: int) -> list[tuple[Any, ...]]:
        """Rows of ``market.features`` of all captured grid points up to ``target``; trades up to it are used up."""
        rows = []
        captured, traded = self._captured, self._traded
        for point in sorted(point for point in captured.keys() | traded.keys() if point <= target):
            count = buy = sell = 0
            sums = traded.pop(point, None)
            if sums is not None:
                count, buy, sell, self.last_price = sums
            kept = captured.pop(point, None)
            if kept is not None:
                picture, flow, last_update_id = kept
                # Absurd quantities saturate: a row must fit into int64, whatever an exchange sends.
                rows.append(
                    (
                        self._instrument,
                        point,
                        *picture,
                        max(-MAXIMUM, min(flow, MAXIMUM)),
                        count,
                        min(buy, MAXIMUM),
                        min(sell, MAXIMUM),
                        self.last_price,
                        last_update_id,
                    )
                )
        return rows


def _picture(top: Levels) -> tuple[Any, ...]:
    """Columns ``best_bid`` to ``imbalance_20`` of ``market.features``."""
    bid_prices, bid_quantities, ask_prices, ask_quantities = top
    best_bid, best_ask = bid_prices[0], ask_prices[0]
    return (
        best_bid,
        best_ask,
        bid_quantities[0],
        ask_quantities[0],
        *top,
        (best_bid + best_ask) / (2 * SCALE),
        best_ask - best_bid,
        _imbalance(bid_quantities[0], ask_quantities[0]),
        _imbalance(sum(bid_quantities[:5]), sum(ask_quantities[:5])),
        _imbalance(sum(bid_quantities), sum(ask_quantities)),
    )


def _imbalance(bid: int, ask: int) -> float:
    return (bid - ask) / (bid + ask)
