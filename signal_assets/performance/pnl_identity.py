"""Profit has one amount, whichever way it is told: closed trades + what is open = change of equity, to the last unit.

Belongs here: the identity and its check. Does not belong here: making trades (``trade_log``) or equity (``equity``).

**Why it holds exactly.** Let n be the signed notional of a fill (buying +, selling -), M the value of what is held now.

* *First in, first out.* A closed pair takes its part of the opening and of the closing fill out of both, and its gross
  is minus the sum of the two signed parts. Parts add up to their fill, so Σ gross = Σ cost of open lots - Σ n.
* *Average cost.* A reduction takes a share out of the cost and adds minus (amount + share), signed, to what is
  realized; the rounding of the share is in both. So realized = cost - Σ n.

Hence in both tellings realized + unrealized = realized + (M - cost) = M - Σ n: what is held plus the cash that flowed.
The two differ only in what they call realized. Fees are shared without loss as well, so

    Σ net of closed trades + (M - Σ cost of open lots) - Σ fees of open lots = equity - start capital.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from signal_assets.performance.marks import Marks
from signal_assets.performance.parameters import PORTFOLIO
from signal_assets.performance.trade_log import Lot, in_order, lot_of, match


@dataclass(frozen=True, slots=True)
class PnlIdentity:
    """Both sides of the identity for one account; account currency, units of 1e-8.

    Parameters
    ----------
    name : str
        The strategy, or ``portfolio``.
    closed : int
        Σ net of its closed trades.
    unrealized, open_fees : int
        Value of its open lots less their notionals, and the fees that were paid for them.
    equity_change : int
        Its equity less its start capital.
    """

    name: str
    closed: int
    unrealized: int
    open_fees: int
    equity_change: int

    @property
    def difference(self) -> int:
        """What is unaccounted for; 0 where the identity holds.

        Examples
        --------
        >>> PnlIdentity("momentum_rider", closed=70, unrealized=-20, open_fees=3, equity_change=47).difference
        0
        """
        return self.equity_change - (self.closed + self.unrealized - self.open_fees)


def open_lots(fills: Iterable[Any]) -> dict[tuple[str, str], list[Lot]]:
    """Lots that remain of all fills so far, oldest first, by strategy and instrument.

    Parameters
    ----------
    fills : iterable of records
        Of ``execution.fills``, in any order.
    """
    lots: dict[tuple[str, str], list[Lot]] = {}
    for fill in sorted(in_order(fills), key=lambda fill: fill.time):
        match(lots.setdefault((fill.strategy, fill.instrument), []), lot_of(fill))
    return lots


def pnl_identities(
    fills: Iterable[Any],
    trade_log: pd.DataFrame,
    equity: pd.DataFrame,
    marks: Marks,
    start_capital: Mapping[str, int],
    starting_balance: int,
) -> list[PnlIdentity]:
    """The identity of every account at one time.

    Parameters
    ----------
    fills : iterable of records
        All of ``execution.fills`` up to that time.
    trade_log : DataFrame
        All of ``performance.trade_log`` up to that time.
    equity : DataFrame
        ``performance.equity`` of that time, one row per account.
    marks : Marks
        Knows the newest best prices at that time.
    start_capital : mapping of str to int
        What each strategy began with; others began with nothing.
    starting_balance : int
        What the portfolio began with.
    """
    unrealized: dict[str, int] = {}
    open_fees: dict[str, int] = {}
    for (strategy, instrument), lots in open_lots(fills).items():
        signs = [1 if lot.side == "buy" else -1 for lot in lots]
        quantity = sum(sign * lot.quantity for sign, lot in zip(signs, lots, strict=True))
        cost = sum(sign * lot.notional for sign, lot in zip(signs, lots, strict=True))
        value = marks.value(instrument, quantity) if lots else 0
        unrealized[strategy] = unrealized.get(strategy, 0) + value - cost
        open_fees[strategy] = open_fees.get(strategy, 0) + sum(lot.fee for lot in lots)
    found = []
    for name, worth in zip(equity["strategy"].tolist(), equity["equity"].tolist(), strict=True):
        everything = name == PORTFOLIO
        own = trade_log["net"] if everything else trade_log.loc[(trade_log["strategy"] == name).to_numpy(), "net"]
        found.append(
            PnlIdentity(
                name,
                closed=sum(own.tolist()),
                unrealized=sum(unrealized.values()) if everything else unrealized.get(name, 0),
                open_fees=sum(open_fees.values()) if everything else open_fees.get(name, 0),
                equity_change=worth - (starting_balance if everything else start_capital.get(name, 0)),
            )
        )
    return found
