"""The book and the tape of one simulated instrument, one diff interval at a time.

Belongs here: how a book follows its mid price, where trades happen, and their JSON. Does not belong here: how prices
move (``price_paths.py``) and how instruments are merged in time (``order_flow.py``).
"""

import math
from collections import deque
from typing import Final

import numpy as np

from services.simulated_venue.market_plan import Anomaly, InstrumentPlan, Wall
from services.simulated_venue.random_values import BLOCK, one_by_one, seeded
from services.simulated_venue.venue_message import MessageKind, VenueMessage, snapshot_text, stream_name
from signal_assets.event_time import MILLISECOND
from signal_assets.fixed_point import SCALE

NANOSECONDS: Final = 1_000_000
"""In a millisecond."""
LATENCY: Final = 12 * NANOSECONDS
CACHED_PRICES: Final = 200_000
LATE_MILLISECONDS: Final = 400
VERY_LATE_MILLISECONDS: Final = 1_700
"""Beyond the end of its second by more than the half second that grid points wait."""
MOST_TRADES: Final = 60
EXCITEMENT: Final = 0.6
"""Mean number of further trades that one trade brings about."""
EXCITEMENT_FADES: Final = 1.0
"""Seconds."""
FIRST_UPDATE_ID: Final = 1_000_000
FIRST_TRADE_ID: Final = 10_000


class InstrumentFlow:
    """Book and tape of one instrument; prices in ticks, quantities in lots, times in ms.

    Never crossed: every step removes what the moving mid price has passed before it adds the new best prices.
    """

    def __init__(self, plan: InstrumentPlan, *, start: int, phase: int, seed: int, activity: float) -> None:
        instrument, settings = plan.instrument, plan.settings
        self.symbol = instrument.symbol
        self.book_tickers = False
        self._plan = plan
        self._settings = settings
        self._tick, self._lot = instrument.tick_size, instrument.lot_size
        self._seconds = settings.diff_interval / 1000
        self._streams = {kind: stream_name(self.symbol, kind) for kind in MessageKind}
        self._texts: dict[int, str] = {}
        random = seeded(seed, self.symbol, "flow")
        self._draw = one_by_one(lambda: random.random(BLOCK))
        sizes = seeded(seed, self.symbol, "sizes")
        level = plan.typical_level
        trade = max(settings.mean_trade_value / plan.value_of_lot, 1.0)
        # log-normal with the given mean: heavy-tailed, and most are far smaller than the mean
        self._level_size = one_by_one(
            lambda: (level * np.exp(1.1 * sizes.standard_normal(BLOCK) - 0.605)).astype(int) + 1
        )
        self._trade_size = one_by_one(
            lambda: (trade * np.exp(1.5 * sizes.standard_normal(BLOCK) - 1.125)).astype(int) + 1
        )
        self._offset = one_by_one(lambda: (plan.reach * random.random(BLOCK) ** 2).astype(int) + 1)
        self._base_rate = settings.trades_per_second * activity * (1 - EXCITEMENT)
        self._excited = 0.0
        self._fade = math.exp(-self._seconds / EXCITEMENT_FADES)
        self._update_id = FIRST_UPDATE_ID
        self._trade_id = FIRST_TRADE_ID
        self._time = start // MILLISECOND + phase
        self._arrived = 0
        self._diff_arrived = 0
        self.gap_start = self.gap_end = 0
        self._spread = 1
        self._wall: Wall | None = None
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._oldest: dict[bool, deque[int]] = {True: deque(), False: deque()}
        self._open_book(plan.start_price)

    @property
    def next_time(self) -> int:
        """Exchange time of the next depth update, ms."""
        return self._time + self._settings.diff_interval

    def _is_on_wire(self, time: int) -> bool:
        """False for messages whose exchange time lies in ``(gap_start, gap_end]``, ms."""
        return not self.gap_start < time <= self.gap_end

    def snapshot(self, received: int | None = None) -> VenueMessage:
        """The whole book as a REST-only message, just before the next depth update unless a time (ns) is given."""
        if received is None:
            received = self.next_time * NANOSECONDS + LATENCY - 1
        tick, lot = self._tick, self._lot
        text = snapshot_text(
            self._update_id,
            [(price * tick, quantity * lot) for price, quantity in sorted(self.bids.items(), reverse=True)],
            [(price * tick, quantity * lot) for price, quantity in sorted(self.asks.items())],
        )
        return self._message(received, MessageKind.SNAPSHOT, self._update_id, self._update_id, text, False)

    def draw_spread(self, anomaly: Anomaly | None) -> int:
        """Spread of the coming interval, ticks."""
        if anomaly is not None and anomaly.kind == "spread_widening":
            self._spread = 8 + int(40 * self._draw())
        elif self._spread > 8 or self._draw() < 0.1:
            self._spread = 1 + int(-0.8 * math.log(1.0 - self._draw()))
        return self._spread

    def step(
        self, mid: float, wall: Wall | None, anomaly: Anomaly | None, activity: float, out: list[VenueMessage]
    ) -> None:
        """One diff interval: trades at the standing best prices, then the book moves to ``mid`` and says what changed.

        Parameters
        ----------
        mid : float
            Mid price at the end of the interval, ticks.
        activity : float
            Factor on trades and updates.
        out : list
            Takes the messages, trades in order of their ids.
        """
        begin, end = self._time, self._time + self._settings.diff_interval
        self._time = end
        bids, asks = self.bids, self.asks
        bid_changes: dict[int, int] = {}
        ask_changes: dict[int, int] = {}
        # every arrival lies within a few ms of E, so depth updates arrive in their order
        arrival = end * NANOSECONDS + LATENCY + int(self._draw() * 4 * NANOSECONDS)
        self._trade(begin, end, mid, anomaly, activity, bid_changes, ask_changes, out)
        if wall is not self._wall:
            self._change_wall(wall, bid_changes, ask_changes)
        bid = math.floor(mid - self._spread / 2)
        self._move(max(bid, 1), max(bid, 1) + self._spread, bid_changes, ask_changes)
        if wall is not None:
            side, changes = (bids, bid_changes) if wall.side == "bid" else (asks, ask_changes)
            if side.get(wall.price) != wall.quantity:
                side[wall.price] = changes[wall.price] = wall.quantity
        self._quote(anomaly, activity, bid_changes, ask_changes)
        self._say_depth(end, arrival, bid_changes, ask_changes, out)

    # the book ------------------------------------------------------------------------------------------------------

    def _open_book(self, mid: float) -> None:
        self._bid = math.floor(mid - 0.5)
        self._ask = self._bid + 1
        for side, is_bid, best in ((self.bids, True, self._bid), (self.asks, False, self._ask)):
            side[best] = int(self._level_size())
            for _ in range(int(1.3 * self._settings.levels_per_side)):
                offset = int(self._offset())
                price = best - offset if is_bid else best + offset
                if price > 0 and price not in side:
                    side[price] = int(self._level_size())
                    self._oldest[is_bid].append(price)

    def _move(self, bid: int, ask: int, bid_changes: dict[int, int], ask_changes: dict[int, int]) -> None:
        """Make ``bid`` and ``ask`` the best prices: remove what lies between them, fill up behind them."""
        bids, asks = self.bids, self.asks
        old_bid, old_ask = self._bid, self._ask
        for price in range(bid + 1, old_bid + 1):
            if bids.pop(price, None) is not None:
                bid_changes[price] = 0
        for price in range(old_ask, ask):
            if asks.pop(price, None) is not None:
                ask_changes[price] = 0
        if bid not in bids:
            bids[bid] = bid_changes[bid] = int(self._level_size())
            self._oldest[True].append(bid)
        if ask not in asks:
            asks[ask] = ask_changes[ask] = int(self._level_size())
            self._oldest[False].append(ask)
        self._bid, self._ask = bid, ask

    def _change_wall(self, wall: Wall | None, bid_changes: dict[int, int], ask_changes: dict[int, int]) -> None:
        """The old wall becomes an ordinary level; the new one is put up by the step."""
        gone, self._wall = self._wall, wall
        if gone is not None:
            side, changes = (self.bids, bid_changes) if gone.side == "bid" else (self.asks, ask_changes)
            if gone.price in side:
                side[gone.price] = changes[gone.price] = int(self._level_size())
                self._oldest[gone.side == "bid"].append(gone.price)

    def _quote(
        self, anomaly: Anomaly | None, activity: float, bid_changes: dict[int, int], ask_changes: dict[int, int]
    ) -> None:
        """Orders come, change and go all over the book, most of them near the best prices."""
        draw = self._draw
        wall_price = self._wall.price if self._wall is not None else -1
        heavy = anomaly.direction if anomaly is not None and anomaly.kind == "book_imbalance" else 0
        for _ in range(1 + int(self._settings.updates_per_diff * activity * 2 * draw())):
            is_bid = draw() < 0.5
            side, changes = (self.bids, bid_changes) if is_bid else (self.asks, ask_changes)
            offset = int(self._offset())
            if draw() < 0.15:
                offset = int(offset * 12 / self._plan.reach)  # at the touch
            price = self._bid - offset if is_bid else self._ask + offset
            if price <= 0 or price == wall_price:
                continue
            if offset and price in side and draw() < 0.3:
                del side[price]
                changes[price] = 0
                continue
            if price not in side:
                self._oldest[is_bid].append(price)
            side[price] = changes[price] = int(self._level_size())
        if heavy:
            best, side, changes = (
                (self._bid, self.bids, bid_changes) if heavy > 0 else (self._ask, self.asks, ask_changes)
            )
            side[best] = changes[best] = int(self._plan.typical_level * (15 + 10 * draw()))
        self._forget(True, wall_price, bid_changes)
        self._forget(False, wall_price, ask_changes)

    def _forget(self, is_bid: bool, wall_price: int, changes: dict[int, int]) -> None:
        """The oldest orders are cancelled when the book is over its size."""
        side, oldest = (self.bids, self._oldest[True]) if is_bid else (self.asks, self._oldest[False])
        best = self._bid if is_bid else self._ask
        while len(side) > self._settings.levels_per_side and oldest:
            price = oldest.popleft()
            if price not in side or price == wall_price:
                continue
            if price == best:
                oldest.append(price)
                break
            del side[price]
            changes[price] = 0

    # the tape ------------------------------------------------------------------------------------------------------

    def _trade(
        self,
        begin: int,
        end: int,
        mid: float,
        anomaly: Anomaly | None,
        activity: float,
        bid_changes: dict[int, int],
        ask_changes: dict[int, int],
        out: list[VenueMessage],
    ) -> None:
        count = self._count_trades(activity * (12.0 if anomaly is not None and anomaly.kind == "volume_burst" else 1.0))
        if not count:
            return
        draw = self._draw
        bid, ask, wall = self._bid, self._ask, self._wall
        up = 0.5 + 0.35 * math.tanh((mid - (bid + ask) / 2) / (2.0 + self._plan.width / 10))
        if wall is not None and wall.price == bid:
            up = 0.15  # what comes to a wall trades with it
        elif wall is not None and wall.price == ask:
            up = 0.85
        span = end - begin
        for time in sorted([begin + 1 + int(span * draw()) for _ in range(count)]):
            is_buy = draw() < up
            price = ask if is_buy else bid
            quantity = int(self._trade_size())
            side, changes = (self.asks, ask_changes) if is_buy else (self.bids, bid_changes)
            left = side[price] - quantity
            side[price] = changes[price] = left if left > 0 else int(self._level_size())
            self._say_trade(min(time, end), price, quantity, is_buy, out)

    def _count_trades(self, activity: float) -> int:
        """Trades of one interval: a Poisson number whose rate every trade raises for a while (Hawkes)."""
        rate = (self._base_rate * activity + self._excited) * self._seconds
        count, product, floor = 0, self._draw(), math.exp(-min(rate, 40.0))
        while product > floor and count < MOST_TRADES:
            count += 1
            product *= self._draw()
        # one trade brings EXCITEMENT more over all coming intervals together
        self._excited = (self._excited + count * EXCITEMENT * (1 / self._fade - 1) / self._seconds) * self._fade
        return count

    def _say_trade(self, time: int, price: int, quantity: int, is_buy: bool, out: list[VenueMessage]) -> None:
        draw = self._draw
        arrival = (time + 1) * NANOSECONDS + LATENCY
        late = draw()
        if late < self._settings.very_late_trade_share:
            arrival += (VERY_LATE_MILLISECONDS + 2 * self._settings.diff_interval) * NANOSECONDS
        elif late < self._settings.very_late_trade_share + self._settings.late_trade_share:
            arrival += int(LATE_MILLISECONDS * draw()) * NANOSECONDS
        # ids arrive in order, so a trade that is held up holds up those behind it
        self._arrived = arrival = max(arrival, self._arrived + 1_000)
        number = self._trade_id
        self._trade_id = number + 1
        units = quantity * self._lot
        text = (
            f'{{"e":"trade","E":{time + 1},"s":"{self.symbol}","t":{number},"p":"{self._price_text(price)}",'
            f'"q":"{units // SCALE}.{units % SCALE:08d}","T":{time},"m":{"false" if is_buy else "true"},"M":true}}'
        )
        out.append(self._message(arrival, MessageKind.TRADE, number, number, text, self._is_on_wire(time + 1)))

    # the messages --------------------------------------------------------------------------------------------------

    def _say_depth(
        self,
        time: int,
        arrival: int,
        bid_changes: dict[int, int],
        ask_changes: dict[int, int],
        out: list[VenueMessage],
    ) -> None:
        first = self._update_id + 1
        # an id per order event; several of them may have touched one level
        self._update_id = last = first + len(bid_changes) + len(ask_changes) + int(2 * self._draw())
        text = (
            f'{{"e":"depthUpdate","E":{time},"s":"{self.symbol}","U":{first},"u":{last},'
            f'"b":[{self._levels_text(bid_changes, True)}],"a":[{self._levels_text(ask_changes, False)}]}}'
        )
        on_wire = self._is_on_wire(time)
        out.append(self._message(arrival, MessageKind.DEPTH, first, last, text, on_wire))
        if self.book_tickers:
            lot = self._lot
            bid, ask = self.bids[self._bid] * lot, self.asks[self._ask] * lot
            text = (
                f'{{"u":{last},"s":"{self.symbol}","b":"{self._price_text(self._bid)}",'
                f'"B":"{bid // SCALE}.{bid % SCALE:08d}","a":"{self._price_text(self._ask)}",'
                f'"A":"{ask // SCALE}.{ask % SCALE:08d}"}}'
            )
            out.append(self._message(arrival + 1, MessageKind.BOOK_TICKER, last, last, text, on_wire))

    def _levels_text(self, changes: dict[int, int], is_bid: bool) -> str:
        lot, price_text = self._lot, self._price_text
        parts = []
        for price in sorted(changes, reverse=is_bid):
            units = changes[price] * lot
            parts.append(f'["{price_text(price)}","{units // SCALE}.{units % SCALE:08d}"]')
        return ",".join(parts)

    def _price_text(self, price: int) -> str:
        text = self._texts.get(price)
        if text is None:
            if len(self._texts) > CACHED_PRICES:
                self._texts.clear()
            units = price * self._tick
            text = self._texts[price] = f"{units // SCALE}.{units % SCALE:08d}"
        return text

    def _message(
        self, received: int, kind: MessageKind, first: int, last: int, text: str, on_wire: bool
    ) -> VenueMessage:
        stream = self._streams[kind]
        raw = f'{{"stream":"{stream}","data":{text}}}'.encode()
        return VenueMessage(received, kind, stream, self.symbol, first, last, raw, on_wire)
