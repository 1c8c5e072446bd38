"""Rows of ``performance.alerts``: metrics beyond their thresholds, as of a day's end.

Belongs here: applying the rules. Does not belong here: the rules (``parameters``), metrics (``metric_rows``).
"""

import pandas as pd

from signal_assets.event_time import DAY
from signal_assets.performance.parameters import AlertRule, PerformanceParameters
from signal_assets.performance.tables import ALERTS
from signal_assets.window import Window


def alert_rows(window: Window, metrics: pd.DataFrame, parameters: PerformanceParameters) -> pd.DataFrame:
    """Rows of ``performance.alerts`` at the day's end, if the window holds it.

    A metric that is not defined (NaN) alerts nobody.

    Parameters
    ----------
    metrics : DataFrame
        ``performance.metrics`` of the day's end.
    """
    if not window.holds(DAY):
        return ALERTS.empty()
    newest = metrics[(metrics["time"] == window.end).to_numpy()]
    rows = []
    for (group, scope, name), own in newest.groupby(["instrument", "scope", "name"], sort=True):
        values = dict(zip(own["metric"], own["value"], strict=True))
        for rule in parameters.rules:
            if scope in rule.scopes and _broken(rule, values):
                value = values[rule.metric]
                rows.append((group, scope, name, window.end, rule.name, rule.severity, value, rule.threshold))
    return ALERTS.conform(pd.DataFrame(rows, columns=list(ALERTS.value_columns))) if rows else ALERTS.empty()


def _broken(rule: AlertRule, values: dict[str, float]) -> bool:
    value = values.get(rule.metric, float("nan"))
    if values.get("days", 0) < rule.minimum_days or values.get("trades", 0) < rule.minimum_trades:
        return False
    return value > rule.threshold if rule.beyond == "above" else value < rule.threshold
