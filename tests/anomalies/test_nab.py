"""NAB's score against published figures and by hand; its files in and out."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import LABELS, PROFILES, main, novelty, read_profiles, read_series, read_windows
from benchmarks.nab_score import Profile, nab_score

STANDARD = Profile(right=1.0, miss=1.0, false=0.11)


def test_score_by_hand() -> None:
    windows = {"a": [(40, 59)], "b": [(50, 59)]}
    found = {"a": np.zeros(100), "b": np.zeros(100)}
    assert nab_score(found, windows, STANDARD).score == 0.0
    found["a"][[5, 49, 50]] = 0.9, 0.8, 0.9
    found["b"][[30, 64]] = 0.7, 0.9
    # Row 5 is on probation. Window a of 20 rows is found at row 49, 11 rows before its end: s(-0.55) / s(-1). Window b
    # is missed; row 30 lies before any window: -0.11; row 64 is 5 rows behind one of 10 rows: 0.11 s(5/9).
    s = {y: 2 / (1 + math.exp(5 * y)) - 1 for y in (-0.55, -0.5, -1.0, 5 / 9)}
    all_of_it = s[-0.55] / s[-1.0] - 0.11 + 0.11 * s[5 / 9]
    low = nab_score(found, windows, STANDARD, 0.5)
    assert low.score == pytest.approx(100 * (all_of_it - 1 + 2) / 4)
    assert (low.found, low.windows, low.false) == (1, 2, 2)
    # The best threshold leaves row 30 out and keeps row 49.
    best = nab_score(found, windows, STANDARD)
    assert best.score == pytest.approx(100 * (all_of_it + 0.11 - 1 + 2) / 4)
    assert best.threshold == 0.8


def windowed_gaussian(values: np.ndarray) -> np.ndarray:
    """NAB's own baseline: the normal probability of the newest 6,400 values, renewed every 100 when full."""
    scores, window, waiting = np.zeros(len(values)), np.empty(0), []
    mean, deviation = 0.0, 1.0
    for i, value in enumerate(values.tolist()):
        if len(window):
            scores[i] = 1 - 0.5 * math.erfc(abs(value - mean) / deviation / math.sqrt(2))
        waiting.append(value)
        if len(window) < 6_400 or len(waiting) == 100:
            window = np.append(window, waiting)[-6_400:]
            waiting = []
            mean, deviation = float(np.mean(window)), float(np.std(window)) or 1e-6
    return scores


@pytest.mark.slow
def test_the_published_score_of_a_published_detector(shared_data: Path) -> None:
    """24.3 on these series; NAB's published results were written with twelve digits, on which the threshold hangs."""
    series = read_series(shared_data / "nab")
    windows = read_windows(shared_data / "nab" / LABELS, series)
    profile = read_profiles(shared_data / "nab" / PROFILES)["standard"]
    assert profile == STANDARD
    assert (len(series), sum(map(len, windows.values()))) == (24, 49)
    scores = {one.name: np.round(windowed_gaussian(one.values), 12) for one in series}
    assert round(nab_score(scores, windows, profile).score, 1) == 24.3
    perfect = {one.name: np.zeros(len(one.values)) for one in series}
    for name, ends in windows.items():
        perfect[name][[left for left, _ in ends]] = 1.0
    assert nab_score(perfect, windows, profile).score == 100.0


@pytest.mark.slow
def test_the_novelty_detector_is_better_than_the_best_published(shared_data: Path) -> None:
    """67.7 is the best published on these series; ours is its alerts alone, with one set of parameters."""
    series = read_series(shared_data / "nab")
    windows = read_windows(shared_data / "nab" / LABELS, series)
    scores = {one.name: novelty(one.times, one.values) for one in series}
    assert nab_score(scores, windows, STANDARD, threshold=1e-9).score >= 70


def test_files_in_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    category = tmp_path / "in" / "data" / "made"
    category.mkdir(parents=True)
    stamps = [f"2014-01-{1 + i // 288:02} {i // 12 % 24:02}:{i % 12 * 5:02}:00" for i in range(900)]
    lines = [f"{stamp},{i % 7 + 50 * (i == 700)}" for i, stamp in enumerate(stamps)]
    text = "timestamp,value\n" + "\n".join(lines) + "\n"
    (category / "plain.csv").write_text(text)
    with gzip.open(category / "packed.csv.gz", "wt") as packed:
        packed.write(text)
    window = ["2014-01-03 10:00:00.000000", "2014-01-03 11:00:00.000000"]
    labels = {f"made/{name}.csv": [window] for name in ("plain", "packed")}
    (tmp_path / "in" / LABELS).write_text(json.dumps(labels))
    (tmp_path / "in" / PROFILES).write_text(
        json.dumps({"standard": {"CostMatrix": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11, "tnWeight": 1.0}}})
    )
    assert main(["--data", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--detector", "novelty"]) == 0
    assert "2 series, 1,800 rows" in capsys.readouterr().out
    results = tmp_path / "out" / "novelty" / "made"
    written = [(results / f"novelty_{name}.csv").read_text() for name in ("plain", "packed")]
    assert written[0] == written[1]
    rows = [line.split(",") for line in written[0].splitlines()]
    assert rows[0] == ["timestamp", "value", "anomaly_score"]
    assert [row[0] for row in rows[1:]] == stamps
    scores = np.array([float(row[2]) for row in rows[1:]])
    assert np.flatnonzero(scores).tolist() == [700]
    assert 0 < scores[700] <= 1


def test_what_is_not_in_nabs_layout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no <category>/<file>.csv" in capsys.readouterr().err
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "bad.csv").write_text("timestamp,value\n2014-01-01 00:00:00,1\nyesterday,2\n")
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "bad.csv, line 3" in error
    assert len(error.splitlines()) == 1
