"""What a strategy is: a causal kernel that looks at features rows and proposes trades.

Belongs here: the interface all strategies share and what they propose. Does not belong here: any strategy (the
families), how proposals become rows (``strategy_machine``), what else a signal needs (the stage ``signals``).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from signal_assets.content_id import content_id
from signal_assets.instrument import Instrument

Parameters = TypeVar("Parameters")

Action = Literal["buy", "sell", "hold"]


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of several that belong together; quantity and price in units of 1e-8, None: at the market."""

    instrument: str
    side: Literal["buy", "sell"]
    quantity: int
    limit_price: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a strategy proposes at one time, before validation; prices and quantity are integers in units of 1e-8.

    Parameters
    ----------
    instrument : str
        Key of the instrument; of several legs that of the first, to which action, entry price and quantity belong.
    timeframe : str
        Bar it was decided on (``1m`` …), or ``grid``.
    entry_price : int
        Price it was decided at.
    raw_confidence : float
        What the strategy itself thinks of it, 0…1; each strategy defines its own.
    legs : tuple of Leg
        Several orders at once; empty for a single one.
    stop_loss, take_profit : int or None
        Where it is given up, and where it is done.
    quantity : int
        Size proposed; 0: the executor decides.
    metadata : mapping
        What it was decided from: plain texts, numbers, flags and sequences of them; numbers must be finite.
    """

    instrument: str
    timeframe: str
    action: Action
    entry_price: int
    raw_confidence: float
    order_type: Literal["market", "limit"] = "market"
    legs: tuple[Leg, ...] = ()
    stop_loss: int | None = None
    take_profit: int | None = None
    quantity: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Strategy(ABC, Generic[Parameters]):
    """A causal kernel of one group of instruments.

    What it proposes depends on the features rows it was handed, and their order, alone: no clock, no chance, no look at
    how the work was cut, and nothing of what is still to come – a test of every strategy cuts the market anywhere and
    asks for the same rows. Instruments are kept in the order of their keys, so that ties have a fixed order.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    parameters : dataclass
        Of the strategy; frozen, validated, in units of 1e-8 and µs.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    tier: ClassVar[Literal["fast", "tactical", "strategic", "learning"]]
    look_back: ClassVar[int]
    """How much of the past a row depends on with the default parameters, µs of uninterrupted market; documentation."""
    inputs: ClassVar[tuple[str, ...]]
    """Columns of ``market.features`` it reads, beside ``instrument`` and ``time``; others may be None."""

    def __init__(self, instruments: Sequence[Instrument], parameters: Parameters) -> None:
        self.instruments = tuple(sorted(instruments, key=lambda instrument: instrument.key))
        self.parameters = parameters

    @abstractmethod
    def step(self, time: int, features: Mapping[str, Any]) -> list[Candidate]:
        """Take in the features rows of one time (µs UTC, ascending), by instrument; absent ones have none."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All it remembers, in what ``encode_state`` takes."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state` gave; instruments that did not exist then begin cold."""


def parameters_version(parameters: Any) -> str:
    """Twelve hex digits that say with which parameters something was decided.

    Examples
    --------
    >>> @dataclass
    ... class Example:
    ...     threshold: float = 1.5
    >>> parameters_version(Example()), parameters_version(Example(2.0))
    ('5202941e5ea8', 'b791c9614c7d')
    """
    return content_id(*(f"{name}={value!r}" for name, value in sorted(asdict(parameters).items())))[:12]
