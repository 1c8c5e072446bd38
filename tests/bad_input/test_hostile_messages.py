"""Ten thousand hostile messages, fuzzed from recorded ones and sent among them.

Each is accepted, flagged or a dead letter, none stops anything; every true trade is there, and the book finds back.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resources.exchange.binance_messages import MessageParser
from services.live_lane.venue_lane import LARGEST_LEAD, newest_time
from services.simulated_venue.recording import read_recording
from services.simulated_venue.served_market import ServedMarket
from services.simulated_venue.venue_message import MessageKind
from signal_assets.event_time import SECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, VenueIngest
from signal_assets.market.messages import MalformedMessageError
from tests.lanes.market_run import answer

pytestmark = pytest.mark.slow

ONE = 100_000_000
BTC = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", tick_size=ONE // 100, lot_size=ONE // 100_000)
HOSTILE = 10_000
PER_MESSAGE = 2
"""Hostile messages behind each of the first five thousand recorded ones."""
STRANGE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1.5, 2**31, 2**63 - 1, 2**63, 2**64, 10**40, -(2**63)),
    *(
        "",
        " ",
        "NaN",
        "Infinity",
        "-0.00000001",
        "0.00000000",
        "1e400",
        "9" * 400,
        "٣.١٤",
        "0x10",
        "1_000",
        "+5",
        "\x00",
    ),
    *(
        "92233720368547758.07",
        "92233720368547758.08",
        "0.000000001",
        "BTCUSDT",
        [],
        {},
        [[]],
        [["1"]],
        [["1", "2", "3"]],
    ),
    [["1.00000000", "-1.00000000"]],
    [["60000.00000000", "1.00000000"]] * 20_000,
)


def message_of(raw: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(raw)
    return content


def flip(raw: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
    return bytes(spoiled)


def cut(raw: bytes, chance: random.Random) -> bytes:
    return raw[: chance.randrange(len(raw))]


def splice(raw: bytes, chance: random.Random) -> bytes:
    at, length = chance.randrange(len(raw)), chance.randint(1, 40)
    return raw[:at] + raw[at + length :] if chance.random() < 0.5 else raw[:at] + raw[at : at + length] + raw[at:]


def drop_field(raw: bytes, chance: random.Random) -> bytes:
    message = message_of(raw)
    data = message.get("data", message)
    del data[chance.choice(sorted(data))]
    return json.dumps(message).encode()


def strange_value(raw: bytes, chance: random.Random) -> bytes:
    message = message_of(raw)
    data = message.get("data", message)
    data[chance.choice(sorted(data))] = chance.choice(STRANGE)
    return json.dumps(message).encode()


def shifted_number(raw: bytes, chance: random.Random) -> bytes:
    message = message_of(raw)
    data = message.get("data", message)
    numbers = [name for name, value in sorted(data.items()) if type(value) is int]
    data[chance.choice(numbers)] += chance.choice((-1, 1)) * 10 ** chance.randint(0, 18)
    return json.dumps(message).encode()


def strange_level(raw: bytes, chance: random.Random) -> bytes:
    message = message_of(raw)
    data = message.get("data", message)
    sides = [data[side] for side in ("b", "a") if isinstance(data.get(side), list)]
    for side in sides:
        side.insert(chance.randint(0, len(side)), chance.choice(STRANGE))
    return json.dumps(message).encode()


def nested(raw: bytes, chance: random.Random) -> bytes:
    depth = chance.choice((1, 50, 2_000))
    return b'{"data":' * depth + raw + b"}" * depth if chance.random() < 0.5 else b"[" * depth + raw + b"]" * depth


def again(raw: bytes, _: random.Random) -> bytes:
    return raw


SPOILS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, cut, splice, drop_field, strange_value, shifted_number, strange_level, nested, again),
)


@dataclass
class Outcome:
    """What became of the messages, and where the instrument stood at the end."""

    counts: Counter[str] = field(default_factory=Counter)
    trades: list[tuple[Any, ...]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)


def run(recordings: list[Path], seed: int | None) -> Outcome:
    """The recording through parser and ingest, REST answering from it; with hostile messages if there is a seed."""
    market, parser = ServedMarket(read_recording(recordings), [BTC]), MessageParser([BTC])
    lane, chance = VenueIngest([BTC], IngestSettings(snapshot_interval=60 * SECOND)), random.Random(seed)
    outcome = Outcome()

    def hand_in(received: int, raw: bytes) -> None:
        outcome.counts["sent"] += 1
        try:
            message = parser.parse(received, raw)
        except MalformedMessageError:
            outcome.counts["dead letter"] += 1
            return
        if message is not None and newest_time(message) > received // 1_000 + LARGEST_LEAD:
            outcome.counts["dead letter"] += 1  # as the live lane does by the exchange's clock
            return
        if message is not None:
            lane.receive(message)
        answer(lane, market, parser)
        output = lane.drain(BTC.key)
        refused = sum(event.kind in REFUSALS for event in output.quality)
        outcome.counts["flagged" if refused else "accepted"] += 1
        outcome.trades.extend(output.trades)

    sent = 0
    while taken := market.take(math.inf, 1):
        if not taken[0].on_wire:
            continue
        hand_in(taken[0].received, taken[0].raw)
        if seed is not None and sent < HOSTILE and taken[0].kind != MessageKind.BOOK_TICKER:
            for _ in range(PER_MESSAGE):
                sent += 1
                hand_in(taken[0].received, chance.choice(SPOILS)(taken[0].raw, chance))
    outcome.state = lane.state(BTC.key)
    return outcome


REFUSALS = ("clock_jump", "trade_refuted")


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> list[Path]:
    folder = shared_data / "binance_spot_btcusdt"
    return [folder / "btcusdt_20240808.gz", folder / "btcusdt_20240809.gz"]


@pytest.fixture(scope="module")
def undisturbed(recordings: list[Path]) -> Outcome:
    outcome = run(recordings, None)
    assert outcome.counts["sent"] == outcome.counts["accepted"] > 50_000
    return outcome


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_stops_and_everything_is_accounted_for(recordings: list[Path], undisturbed: Outcome, seed: int) -> None:
    outcome = run(recordings, seed)
    counts = outcome.counts
    assert counts["sent"] == undisturbed.counts["sent"] + HOSTILE
    assert counts["accepted"] + counts["flagged"] + counts["dead letter"] == counts["sent"]
    assert counts["dead letter"] > HOSTILE / 3
    known = {row[1]: row for row in undisturbed.trades}
    found = Counter(row[1] for row in outcome.trades)
    assert set(found) == set(known)
    assert max(found.values()) == 1
    for name in ("synced", "levels", "best_bid", "best_ask", "clock"):
        assert outcome.state[name] == undisturbed.state[name], name
