"""Which strategies may trade with how much, and why not.

Belongs here: the life-cycle of deployments and the limits that pause or flag them. Does not belong here: orders,
positions, or what equity is made of.

In paper mode a configured strategy goes candidate → validated → allocated → active at the first step. A day's loss
pauses it until the next UTC day, the safety stop flags it for good, the kill switch for as long as it is on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from signal_assets.event_time import day_start
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import whole_group

CANDIDATE, VALIDATED, ALLOCATED = "candidate", "validated", "allocated"
ACTIVE, PAUSED, FLAGGED = "active", "paused", "flagged"
SAFETY_STOP: Final = "safety stop"
DAILY_LOSS: Final = "daily loss limit"


@dataclass(slots=True)
class Deployment:
    """One strategy's standing; money in account currency, units of 1e-8.

    Parameters
    ----------
    change : int
        Rows told so far.
    banked : int
        Realized profit less fees so far.
    peak, day_equity : int
        Highest equity so far, and equity at the day's start.
    """

    strategy: str
    capital: int
    banked: int
    peak: int
    day_equity: int
    state: str = ""
    reason: str = ""
    change: int = 0


class Deployments:
    """Registry of the deployments of one group.

    Parameters
    ----------
    parameters : ExecutionParameters
        Weights, limits and kill switch.
    group : str
        Whose account it is.

    Attributes
    ----------
    rows : list of tuple
        Rows of ``execution.deployments`` that have not been fetched yet.
    """

    def __init__(self, parameters: ExecutionParameters, group: str) -> None:
        self._parameters = parameters
        self._group = whole_group(group)
        self._by_strategy: dict[str, Deployment] = {}
        self._day: int | None = None
        self._is_up_to_date = False
        self.rows: list[tuple[Any, ...]] = []

    def __contains__(self, strategy: str) -> bool:
        return strategy in self._by_strategy

    def __getitem__(self, strategy: str) -> Deployment:
        return self._by_strategy[strategy]

    def begin_step(self, time: int, equity: Callable[[str], int]) -> None:
        """Deploy what is configured, heed the kill switch, and let a new UTC day begin with the equity it finds."""
        if not self._is_up_to_date:
            self._take_up(time)
            self._is_up_to_date = True
        today = day_start(time)
        if today != self._day:
            if self._day is not None:
                self._begin_day(time, equity)
            self._day = today

    def judge(self, time: int, strategy: str, equity: int) -> None:
        """Hold the strategy's equity against its limits."""
        deployment = self._by_strategy[strategy]
        deployment.peak = max(deployment.peak, equity)
        if deployment.state == FLAGGED:
            return
        if (deployment.peak - equity) * SCALE >= self._parameters.safety_stop * deployment.peak:
            self._change(time, deployment, FLAGGED, SAFETY_STOP)
        elif deployment.state == ACTIVE and (
            (deployment.day_equity - equity) * SCALE >= self._parameters.daily_loss_limit * deployment.capital
        ):
            self._change(time, deployment, PAUSED, DAILY_LOSS)

    def refusal(self, strategy: str) -> str:
        """Why the strategy may not open anything; empty if it may."""
        if strategy not in self._by_strategy:
            return "the strategy is not deployed"
        deployment = self._by_strategy[strategy]
        return "" if deployment.state == ACTIVE else f"the strategy is {deployment.state}: {deployment.reason}"

    def liquidates(self, strategy: str) -> str:
        """Why the strategy's positions must go; empty if they may stay."""
        return self.refusal(strategy) if self._by_strategy[strategy].state == FLAGGED else ""

    def state(self) -> dict[str, Any]:
        """Every deployment's fields, and the day."""
        return {"day": self._day, "deployments": [list(astuple(item)) for item in self._by_strategy.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave; what is configured otherwise by now is taken up at the next step."""
        self._day = state["day"]
        restored: Sequence[Deployment] = [Deployment(*fields) for fields in state["deployments"]]
        self._by_strategy = {item.strategy: item for item in restored}
        self._is_up_to_date = False

    def _take_up(self, time: int) -> None:
        for strategy, weight in self._parameters.weights:
            if strategy not in self._by_strategy:
                capital = self._parameters.capital(strategy)
                deployment = Deployment(strategy, 0, banked=0, peak=capital, day_equity=capital)
                self._by_strategy[strategy] = deployment
                self._change(time, deployment, CANDIDATE, "configured")
                self._change(time, deployment, VALIDATED, "paper mode")
                deployment.capital = capital
                total = sum(share for _, share in self._parameters.weights)
                self._change(time, deployment, ALLOCATED, f"weight {weight / total:.4f} of the starting balance")
                self._change(time, deployment, ACTIVE, "paper mode")
        for deployment in self._by_strategy.values():
            if reason := self._held_back(deployment.strategy):
                if deployment.state != FLAGGED:
                    self._change(time, deployment, FLAGGED, reason)
            elif deployment.state == FLAGGED and deployment.reason != SAFETY_STOP:
                self._change(time, deployment, ACTIVE, f"no longer: {deployment.reason}")

    def _held_back(self, strategy: str) -> str:
        if self._parameters.kill_switch or strategy in self._parameters.killed:
            return "kill switch"
        return "" if strategy in self._parameters.strategies else "not configured"

    def _begin_day(self, time: int, equity: Callable[[str], int]) -> None:
        for deployment in self._by_strategy.values():
            deployment.day_equity = equity(deployment.strategy)
            if deployment.state == PAUSED:
                self._change(time, deployment, ACTIVE, "a new day")

    def _change(self, time: int, deployment: Deployment, state: str, reason: str) -> None:
        deployment.state, deployment.reason = state, reason
        self.rows.append((deployment.strategy, self._group, time, deployment.change, state, deployment.capital, reason))
        deployment.change += 1
