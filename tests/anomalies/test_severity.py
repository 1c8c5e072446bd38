import pytest
from scipy import stats

from signal_assets.anomalies.severity import SEVERITIES, severity_of, tail_probability

BOUNDS = (1.0, 2.0, 2.5, 3.0)


@pytest.mark.parametrize(
    ("sigma", "severity"),
    [
        (0.0, None),
        (0.999, None),
        (1.0, "LOW"),
        (1.999, "LOW"),
        (2.0, "MEDIUM"),
        (2.499, "MEDIUM"),
        (2.5, "HIGH"),
        (3.0, "HIGH"),
        (3.001, "CRITICAL"),
        (100.0, "CRITICAL"),
        (float("nan"), None),
    ],
)
def test_the_table_of_the_specification(sigma, severity):
    assert severity_of(sigma, BOUNDS) == severity
    assert severity_of(-sigma, BOUNDS) == severity


def test_bounds_are_what_is_handed_in():
    assert [severity_of(sigma, (2, 4, 6, 8)) for sigma in (1, 2, 4, 6, 9)] == [None, *SEVERITIES]


@pytest.mark.parametrize("sigma", [0.0, -1.0, 1.0, 2.5, -3.0, 8.0, 37.0])
def test_the_tail_is_scipys(sigma):
    assert tail_probability(sigma) == pytest.approx(2 * stats.norm.sf(abs(sigma)), rel=1e-12)
