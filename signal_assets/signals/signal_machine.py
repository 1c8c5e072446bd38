"""From proposals to signals: the machine of one group.

Belongs here: what is asked of a proposal in which order, and its row. Does not belong here: any of the questions.

A proposal becomes a signal's row with exactly one status, decided in this order: a strategy's failure is ``failed``;
what is not sound or comes while its market is closed is ``rejected`` unscored; what has too low a mean score,
confidence or expected edge is ``rejected`` with its scores; what finds its slot held is ``duplicate``; the rest is
``validated`` and takes the slot. Proposals of one step are judged in the order of the strategies, then of instruments,
then of ids.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.instrument import Instrument
from signal_assets.learning.tables import RECENT_PERFORMANCE, THRESHOLDS
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES
from signal_assets.signals.confidence import confidence
from signal_assets.signals.deduplication import Slots
from signal_assets.signals.fresh_anomalies import FreshAnomalies
from signal_assets.signals.market_conditions import Conditions, market_conditions
from signal_assets.signals.market_hours import market_session, may_signal, time_of_day
from signal_assets.signals.minute_closes import MinuteCloses
from signal_assets.signals.other_signals import OtherSignals
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.proposal import ARBITRAGE, Proposal
from signal_assets.signals.sanity import SanityError, sound_proposal
from signal_assets.signals.score import Score
from signal_assets.signals.tables import SIGNALS
from signal_assets.signals.thresholds import expected_edge, thresholds_in_force
from signal_assets.signals.validation import validation
from signal_assets.strategies.tables import TABLES as STRATEGY_TABLES

VALIDATED: Final = "validated"
REJECTED: Final = "rejected"
DUPLICATE: Final = "duplicate"
FAILED: Final = "failed"


class Verdict(NamedTuple):
    """Status, confidence, and the reasons as they are stored."""

    status: str
    confidence: float
    reasons: Mapping[str, Any]


class SignalMachine:
    """Validation, confidence, thresholds and de-duplication of one group; rows of ``signals.signals``.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    """

    def __init__(self, instruments: Sequence[Instrument], parameters: SignalParameters) -> None:
        self._parameters = parameters
        self._instruments = {instrument.key: instrument for instrument in instruments}
        self._closes = MinuteCloses(tuple(self._instruments), parameters.minutes_kept)
        self._others = OtherSignals(self._closes, parameters)
        self._anomalies = FreshAnomalies(parameters.anomaly_window)
        self._slots = Slots(parameters.duplicate_window)
        self._thresholds = thresholds_in_force((), parameters)
        self._records: dict[str, float] = {}

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Take the thresholds and the strategies' records in force; the newest version of each counts."""
        self._thresholds = thresholds_in_force(in_force.get(THRESHOLDS.name, ()), self._parameters)
        versions = sorted(in_force.get(RECENT_PERFORMANCE.name, ()), key=lambda version: version.valid_from)
        self._records = {version.strategy: version.score for version in versions}

    def step(self, time: int, events: Events) -> Rows:
        """Take in prices and anomalies, then judge what is proposed."""
        self._closes.take(time, events.get(FEATURES.name, ()))
        self._anomalies.take(events.get(ANOMALIES.name, ()))
        records = [
            record
            for table in STRATEGY_TABLES
            for record in sorted(events.get(table.name, ()), key=lambda record: (record.instrument, record.id))
        ]
        if not records:
            return {}
        read = [self._read(time, record) for record in records]
        self._others.take(time, [proposal for proposal in read if isinstance(proposal, Proposal)])
        self._slots.forget(time)
        conditions: dict[str, Conditions] = {}
        rows = []
        for record, proposal in zip(records, read, strict=True):
            if isinstance(proposal, Proposal):
                verdict, involved = self._judge(time, proposal, conditions), proposal.involved
            else:
                verdict, involved = proposal, (record.instrument,)
            rows.append(self._row(time, record, verdict, involved))
        return {SIGNALS.name: rows}

    def state(self) -> dict[str, Any]:
        """Minute closes, opinions, newest anomalies, slots."""
        return {
            "closes": self._closes.state(),
            "opinions": self._others.state(),
            "anomalies": self._anomalies.state(),
            "slots": self._slots.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; instruments that did not exist then begin cold."""
        self._closes.restore(state["closes"])
        self._others.restore(state["opinions"])
        self._anomalies.restore(state["anomalies"])
        self._slots.restore(state["slots"])

    def _read(self, time: int, record: Any) -> Proposal | Verdict:
        """The proposal, or why it is none."""
        if record.failure:
            return _unscored(FAILED, f"strategy failed: {record.failure}")
        try:
            proposal = sound_proposal(record, self._instruments)
        except SanityError as error:
            return _unscored(REJECTED, f"not sound: {error}")
        for key in proposal.involved:
            asset_class = self._instruments[key].asset_class
            if not may_signal(time, asset_class):
                return _unscored(REJECTED, f"market closed: {asset_class} at a weekend (UTC)")
        return proposal

    def _judge(self, time: int, proposal: Proposal, conditions: dict[str, Conditions]) -> Verdict:
        """Score a proposal; what its market is like is worked out once per step."""
        parameters, thresholds = self._parameters, self._thresholds
        key = proposal.instrument.key
        if key not in conditions:
            conditions[key] = market_conditions(self._closes, time, key, parameters)
        market = conditions[key]
        hour, correlation = time_of_day(time), self._others.agreement(proposal).score()
        checked = validation(proposal, market, hour, correlation, thresholds.opportunity_threshold, parameters)
        sure = confidence(
            proposal,
            market,
            self._records.get(proposal.record.strategy),
            hour,
            market_session(time),
            correlation,
            thresholds.opportunity_threshold,
            parameters,
        )
        quality = thresholds.minimum_quality(market, parameters)
        edge = expected_edge(proposal, sure.value)
        against = []
        if not checked.passed:
            against.append(f"mean score {checked.mean:.4f} is not above {parameters.minimum_mean_score:g}")
        if sure.value < quality:
            against.append(f"confidence {sure.value:.4f} is below {quality:.4f}")
        if edge is not None and edge < thresholds.opportunity_threshold:
            against.append(f"expected edge {edge:.4f} is below {thresholds.opportunity_threshold:.4f}")
        status = REJECTED if against else VALIDATED
        if not against and not self._slots.claim(time, slot_of(proposal)):
            status = DUPLICATE
            against.append(f"duplicate: {slot_of(proposal)} was validated less than the de-duplication window ago")
        reasons = {
            "against": against,
            "checks": _written(checked.checks.items()),
            "factors": _written(sure.factors.items()),
            "mean_score": checked.mean,
            "minimum_quality": round(quality, 9),
            "expected_edge": None if edge is None else round(edge, 9),
            "opportunity_threshold": thresholds.opportunity_threshold,
        }
        return Verdict(status, sure.value, reasons)

    def _row(self, time: int, record: Any, verdict: Verdict, involved: Iterable[str]) -> tuple[Any, ...]:
        """A row in the order of ``SIGNALS.value_columns``."""
        instrument = self._instruments.get(record.instrument)
        return (
            record.id,
            record.strategy,
            record.family,
            record.tier,
            record.instrument,
            instrument.symbol if instrument else record.instrument.partition(".")[0],
            instrument.pair if instrument else "",
            instrument.asset_class if instrument else "",
            record.timeframe,
            record.action,
            record.order_type,
            record.legs,
            record.entry_price,
            record.stop_loss,
            record.take_profit,
            record.quantity,
            record.raw_confidence,
            verdict.confidence,
            time,
            time + self._parameters.expiry,
            ARBITRAGE if record.family == ARBITRAGE else "entry",
            self._anomalies.severity(time, involved),
            verdict.status,
            json.dumps(verdict.reasons, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False),
            record.metadata,
            record.parameters_version,
        )


def slot_of(proposal: Proposal) -> str:
    """The slot it takes: pair, timeframe, strategy and action."""
    record = proposal.record
    return f"{proposal.instrument.pair}|{record.timeframe}|{record.strategy}|{record.action}"


def _unscored(status: str, reason: str) -> Verdict:
    return Verdict(status, 0.0, {"against": [reason]})


def _written(scores: Iterable[tuple[str, Score]]) -> dict[str, dict[str, Any]]:
    return {name: {"score": score.score, "reason": score.reason} for name, score in scores}
