import pytest
from pydantic import ValidationError

from resources.anomaly_settings import AnomalySettings
from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.folds import anomalies, anomaly_parameters, detectors_of_features
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.tables import TABLES
from signal_assets.event_time import HOUR, MILLISECOND, MINUTE, SECOND
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import BTC


def test_the_defaults_are_the_specification():
    parameters = anomaly_parameters(AnomalySettings())
    assert parameters == AnomalyParameters()
    assert (parameters.z_score_threshold, parameters.iqr_threshold, parameters.mad_threshold) == (3.0, 1.5, 3.0)
    assert (parameters.ema_alpha, parameters.window, parameters.votes) == (0.1, 100, 2)
    assert parameters.severity_bounds == (1.0, 2.0, 2.5, 3.0)
    assert (parameters.alert_severity, parameters.cool_down, parameters.vpin_intervals) == ("MEDIUM", 5 * MINUTE, 50)
    assert (parameters.pending, parameters.keep_firing, parameters.group_by) == (0, 5 * MINUTE, "instrument")
    assert parameters.metrics_interval == 10 * SECOND


def test_every_setting_reaches_the_parameters():
    changed = {
        "metrics_interval_seconds": 30,
        "vpin_intervals": 7,
        "window": 60,
        "minimum_points": 20,
        "z_score_threshold": 3.5,
        "iqr_threshold": 2.0,
        "mad_threshold": 4.0,
        "ema_threshold": 5.0,
        "ema_alpha": 0.2,
        "votes": 3,
        "novelty_threshold": 2.0,
        "novelty_window": 500,
        "novelty_minimum_points": 50,
        "excess": {"wick": {"quantile": 0.5, "times": 7.0}, "volume": {"times": 9.0}},
        "excess_window": 300,
        "raising": ("novelty", "other"),
        "alerting": ("other",),
        "silent": ("vpin",),
        "severity_low": 1.5,
        "severity_medium": 2.5,
        "severity_high": 3.5,
        "severity_critical": 4.5,
        "alert_severity": "HIGH",
        "pending_seconds": 20,
        "keep_firing_seconds": 120,
        "cool_down_seconds": 60,
        "group_by": "group",
        "group_tolerance_seconds": 15,
        "group_longest_seconds": 7_200,
        "alerts_per_series": 5,
        "alerts_per_group": 50,
        "drift_reference_points": 60,
        "drift_recent_points": 40,
        "drift_every_points": 5,
        "drift_probability": 1e-4,
        "correlation_window_points": 30,
        "correlation_least": 0.8,
        "feedback_step": 0.1,
        "feedback_precision": 0.9,
        "feedback_low": 0.25,
        "feedback_high": 2.0,
    }
    assert set(changed) == set(AnomalySettings.model_fields) - {"plug_ins"}
    assert anomaly_parameters(AnomalySettings(**changed), grid_milliseconds=500) == AnomalyParameters(
        features_grid=500 * MILLISECOND,
        metrics_interval=30 * SECOND,
        vpin_intervals=7,
        window=60,
        minimum_points=20,
        z_score_threshold=3.5,
        iqr_threshold=2.0,
        mad_threshold=4.0,
        ema_threshold=5.0,
        ema_alpha=0.2,
        votes=3,
        novelty_threshold=2.0,
        novelty_window=500,
        novelty_minimum_points=50,
        excess=(("wick", 0.5, 7.0), ("volume", 0.9, 9.0)),
        excess_window=300,
        raising=("novelty", "other"),
        alerting=("other",),
        silent=("vpin",),
        severity_bounds=(1.5, 2.5, 3.5, 4.5),
        alert_severity="HIGH",
        pending=20 * SECOND,
        keep_firing=2 * MINUTE,
        cool_down=MINUTE,
        group_by="group",
        group_tolerance=15 * SECOND,
        group_longest=2 * HOUR,
        alerts_per_series=5,
        alerts_per_group=50,
        drift_reference=60,
        drift_recent=40,
        drift_every=5,
        drift_probability=1e-4,
        correlation_window=30,
        correlation_least=0.8,
        feedback_step=0.1,
        feedback_precision=0.9,
        feedback_low=0.25,
        feedback_high=2.0,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"severity_high": 1.0}, "must ascend"),
        ({"minimum_points": 101}, r"minimum_points \(101\) must not exceed window \(100\)"),
        ({"novelty_minimum_points": 721}, r"novelty_minimum_points \(721\) must not exceed novelty_window \(720\)"),
        ({"alerting": ["mad"]}, "alerting names 'mad', which raising does not"),
        ({"drift_recent_points": 721}, r"drift_recent_points \(721\) must not exceed drift_reference_points \(720\)"),
        ({"ema_alpha": 0}, "greater than 0"),
        ({"z_score_threshold": float("nan")}, "z_score_threshold"),
        ({"alert_severity": "BAD"}, "'LOW', 'MEDIUM', 'HIGH' or 'CRITICAL'"),
        ({"treshold": 3}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        AnomalySettings(**wrong)


def test_a_metrics_interval_off_the_features_grid_is_refused():
    with pytest.raises(ValueError, match="multiple of the features grid"):
        anomaly_parameters(AnomalySettings(), grid_milliseconds=3_000)


def test_the_fold_reads_features_and_writes_all_tables():
    fold = anomalies(AnomalyParameters())
    assert (fold.name, fold.tables) == ("anomalies", TABLES)
    (features,) = fold.inputs
    assert features.table is FEATURES
    assert not any(FEATURES.column(name).type.is_list for name in features.columns)
    assert isinstance(fold.machine([BTC]), AnomalyMachine)


def test_who_watches_what():
    asked = detectors_of_features(AnomalyParameters())
    names = {feature: [make(AnomalyParameters()).name for make in makers] for feature, makers in asked.items()}
    specified = ("volume", "spread", "imbalance", "trade_rate", "order_flow_imbalance", "vpin")
    between = ("mean_spread", "wick", "trade_burst", "one_sided")
    assert names == {
        "return": ["novelty", "excess"],
        **{key: ["novelty"] for key in specified},
        **{key: ["excess"] for key in between},
    }
    assert {len(makers) for makers in detectors_of_features(AnomalyParameters(excess=())).values()} == {1}
