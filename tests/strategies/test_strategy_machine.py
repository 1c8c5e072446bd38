import hashlib
import json
from dataclasses import dataclass, field

import pytest

from signal_assets.event_time import DAY, SECOND
from signal_assets.machine import decode_state, encode_state
from signal_assets.strategies.registry import STRATEGY_CLASSES
from signal_assets.strategies.strategy import Candidate, Leg, Strategy, parameters_version
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.tables import STRATEGIES, strategy_table
from tests.strategies.market import BTC, ETH, ETHBTC, features_row

MIDNIGHT = 20_000 * DAY
COLUMNS = strategy_table("scripted").value_columns


@dataclass(frozen=True)
class Script:
    """What to propose, or to raise, at each step."""

    steps: list = field(default_factory=list)


class Scripted(Strategy[Script]):
    name = "scripted"
    family = "tests"
    tier = "tactical"
    look_back = 0
    inputs = ()

    def __init__(self, instruments, parameters):
        super().__init__(instruments, parameters)
        self.position = 0

    def step(self, time, features):
        self.position += 1
        said = self.parameters.steps[self.position - 1]
        if isinstance(said, Exception):
            raise said
        return said

    def state(self):
        return {"position": self.position}

    def restore(self, state):
        self.position = state["position"]


def run(machine, steps):
    """Rows of each step, as mappings."""
    made = []
    for second in steps:
        time = MIDNIGHT + second * SECOND
        rows = machine.step(time, {"market.features": [features_row(BTC, time), features_row(ETH, time)]})
        made.append([dict(zip(COLUMNS, row, strict=True)) for row in rows.get("strategies.scripted", [])])
    return made


def digest(*parts):
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def test_a_candidate_becomes_a_row():
    candidate = Candidate(
        ETH.key, "5m", "sell", 100, 0.25, stop_loss=110, take_profit=70, quantity=3, metadata={"b": 0.1, "a": [1, "ü"]}
    )
    machine = StrategyMachine(Scripted([ETH, BTC], Script([[candidate]])))
    ((row,),) = run(machine, [1])
    version = parameters_version(machine.strategy.parameters)
    assert row == {
        "id": digest("scripted", ETH.key, "5m", MIDNIGHT + SECOND, "sell", version)[:32],
        "strategy": "scripted",
        "family": "tests",
        "tier": "tactical",
        "instrument": ETH.key,
        "timeframe": "5m",
        "event_time": MIDNIGHT + SECOND,
        "action": "sell",
        "order_type": "market",
        "legs": "[]",
        "entry_price": 100,
        "stop_loss": 110,
        "take_profit": 70,
        "quantity": 3,
        "raw_confidence": 0.25,
        "metadata": '{"a":[1,"ü"],"b":0.1}',
        "parameters_version": version,
        "failure": "",
    }


def test_legs_stand_in_the_id_in_place_of_the_instrument():
    legs = (Leg(BTC.key, "buy", 150000000, 6100000000000), Leg(ETH.key, "sell", 2, None))
    candidate = Candidate(BTC.key, "grid", "buy", 100, 0.5, legs=legs)
    machine = StrategyMachine(Scripted([BTC, ETH], Script([[candidate]])))
    ((row,),) = run(machine, [1])
    text = (
        '[{"instrument":"BTCFDUSD.BINANCE","limit_price":"61000.00000000","quantity":"1.50000000","side":"buy"},'
        '{"instrument":"ETHFDUSD.BINANCE","limit_price":null,"quantity":"0.00000002","side":"sell"}]'
    )
    assert row["legs"] == text
    assert row["id"] == digest("scripted", text, "grid", MIDNIGHT + SECOND, "buy", row["parameters_version"])[:32]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (ZeroDivisionError("integer division\n or modulo"), "ZeroDivisionError: integer division or modulo"),
        # A row that cannot be written is the strategy's failure too.
        (
            [Candidate(ETH.key, "5m", "sell", 100, 0.25, metadata={"z": float("nan")})],
            "ValueError: Out of range float values are not JSON compliant: nan",
        ),
    ],
)
def test_a_strategy_that_raises_becomes_a_row_and_its_machine_goes_on(wrong, text):
    good = [Candidate(BTC.key, "1m", "buy", 100, 0.5)]
    machine = StrategyMachine(Scripted([ETHBTC, ETH, BTC], Script([good, wrong, wrong, good])))
    first, second, third, fourth = run(machine, [1, 2, 3, 4])
    assert [row[0]["action"] for row in (first, second, third, fourth)] == ["buy", "hold", "hold", "buy"]
    (failed,) = second
    assert failed["failure"].startswith(text.removesuffix(": nan"))
    assert failed["id"] == digest("scripted", BTC.key, MIDNIGHT + 2 * SECOND, "failure")[:32]
    # The first instrument by key: BTCFDUSD, ETHBTC, ETHFDUSD.
    assert failed["instrument"] == BTC.key
    assert (failed["entry_price"], failed["quantity"], failed["raw_confidence"]) == (0, 0, 0.0)
    assert failed["stop_loss"] is failed["take_profit"] is None
    assert failed["id"] != third[0]["id"]
    assert machine.failures == {"scripted": 2}
    assert machine.last_failure == {"scripted": failed["failure"]}
    assert set(machine.state()) == {"position"}


def test_a_failure_is_the_same_after_a_restart():
    steps = [[], KeyError("x"), [], KeyError("x"), [Candidate(BTC.key, "1m", "buy", 1, 0.5)]]
    whole = run(StrategyMachine(Scripted([BTC], Script(steps))), range(5))
    cut = []
    state = None
    for second in range(5):
        machine = StrategyMachine(Scripted([BTC], Script(steps)))
        if state is not None:
            machine.restore(decode_state(state))
        machine.begin_day(MIDNIGHT, {})
        cut += run(machine, [second])
        state = encode_state(machine.state())
    assert cut == whole
    assert [len(rows) for rows in whole] == [0, 1, 0, 1, 1]


def test_a_step_without_features_asks_nobody():
    machine = StrategyMachine(Scripted([BTC], Script([])))
    assert machine.step(MIDNIGHT, {"market.trades": [object()]}) == {}
    assert machine.failures == {}


def test_the_version_says_which_parameters():
    @dataclass(frozen=True)
    class Two:
        b: float = 0.1
        a: tuple[str, ...] = ("x",)

    assert parameters_version(Two()) == digest("a=('x',)", "b=0.1")[:12]
    assert parameters_version(Two(0.2)) != parameters_version(Two())


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_declares_itself(name):
    strategy = STRATEGY_CLASSES[name]
    assert list(STRATEGY_CLASSES) == list(STRATEGIES)
    assert (strategy.name, strategy.family) == (name, STRATEGIES[name])
    assert strategy.tier in ("fast", "tactical", "strategic", "learning")
    assert strategy.look_back >= 0
    assert strategy.__module__ == f"signal_assets.strategies.{strategy.family}.{name}"
    assert json.loads(json.dumps(strategy.inputs))
