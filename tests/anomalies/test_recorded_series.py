"""On every recorded series: what is said of a value does not depend on what follows, on pieces or on restarts.

(The novelty detector's like is in ``test_novelty_detector``.)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.machine import decode_state, encode_state

DETECTORS: dict[str, Callable[[], Any]] = {
    "z_score": ZScore,
    "iqr": InterQuartileRange,
    "mad": MedianAbsoluteDeviation,
    "ema": EmaResidual,
    "ensemble": lambda: StatisticalEnsemble(AnomalyParameters()),
    "excess": lambda: ExcessDetector(quantile=0.98, times=1.5),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_the_first_half_alone_and_the_second_one_by_one_after_a_restart(shared_data: Path, name: str) -> None:
    files = sorted((shared_data / "nab" / "data").glob("*/*.csv.gz"))
    assert len(files) == 24
    voted = 0
    for file in files:
        frame = pd.read_csv(file, parse_dates=["timestamp"])
        times = frame["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
        values = frame["value"].to_numpy(np.float64)
        whole = np.array(DETECTORS[name]().score(times, values))
        middle = len(values) // 2
        before, after = DETECTORS[name](), DETECTORS[name]()
        first = np.array(before.score(times[:middle], values[:middle]))
        after.restore(decode_state(encode_state(before.state())))
        rest = [
            after.update(time, value)
            for time, value in zip(times[middle:].tolist(), values[middle:].tolist(), strict=True)
        ]
        np.testing.assert_array_equal(first, whole[:, :middle])
        np.testing.assert_array_equal(np.array(rest).T, whole[:, middle:])
        voted += int(np.count_nonzero(whole[3]))
    assert voted > 100
