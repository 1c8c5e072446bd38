import numpy as np
import pandas as pd
import pytest

from signal_assets.event_time import MINUTE
from signal_assets.levels.outcome_score import LevelScore, block_sums, score_levels

HORIZON = 30 * MINUTE
BLOCK = 2 * HORIZON


def rows(*levels, instrument="BTC", profile="depth"):
    """(moment in blocks, zone, draw, outcome), settled with the horizon."""
    frame = pd.DataFrame(levels, columns=["level_time", "zone_low", "draw", "outcome"])
    frame["level_time"] = (frame["level_time"] * BLOCK).astype(np.int64)
    return frame.assign(instrument=instrument, profile=profile, time=frame["level_time"] + HORIZON)


BY_HAND = rows(
    (0, 1, 0, "bounced"), (0, 1, 1, "broke"), (0, 1, 2, "bounced"),
    (0, 2, 0, "broke"), (0, 2, 1, "untouched"),
    (1, 1, 0, "undecided"), (1, 1, 1, "bounced"), (1, 1, 2, "unseen"),
    (1, 5, 0, "bounced"),  # no partner: does not count
    (1, 6, 0, "unseen"), (1, 6, 1, "bounced"),  # unseen: neither does its partner
)  # fmt: skip


def test_sums_by_hand():
    # zones, touched, random touched, bounced, decided, random bounced, random decided. Two partners weigh a half each.
    assert block_sums(BY_HAND, BLOCK).tolist() == [[2, 2, 1, 1, 2, 0.5, 1], [1, 1, 1, 0, 0, 1, 1]]


def test_shares_by_hand():
    (score,) = score_levels(BY_HAND, HORIZON)
    assert (score.instrument, score.profile, score.blocks, score.zones, score.decided) == ("BTC", "depth", 2, 3, 2)
    assert (score.touched, score.random_touched) == (1.0, pytest.approx(2 / 3))
    assert (score.bounced, score.random_bounced) == (0.5, 0.75)
    assert score.difference == -0.25
    assert score.verdict == "too few to tell"


def test_a_single_block_has_no_interval():
    (score,) = score_levels(rows((0, 1, 0, "bounced"), (0, 1, 1, "broke")), HORIZON)
    assert score.difference == 1.0
    assert np.isnan([score.low, score.high]).all()


def test_a_level_counts_only_when_its_horizon_has_passed():
    # The newest outcome is at 0.5 blocks, so the horizon of a level of 0.1 has not passed, whatever it says.
    early = rows((0, 1, 0, "bounced"), (0, 1, 1, "broke"))
    newest = rows((0.1, 2, 0, "bounced"), (0.1, 2, 1, "bounced")).assign(time=HORIZON)
    (score,) = score_levels(pd.concat([early, newest]), HORIZON)
    assert score.zones == 1


def generated(seed, blocks, real, chance, instrument="BTC"):
    """Blocks of 12 zones with three partners each, bounced with the probabilities ``real`` and ``chance``."""
    random, levels = np.random.default_rng(seed), []
    for block in range(blocks):
        for zone in range(12):
            for draw in range(4):
                bounced = random.random() < (real if draw == 0 else chance)
                levels.append((block, zone, draw, "bounced" if bounced else "broke"))
    return rows(*levels, instrument=instrument)


def test_verdicts_on_planted_differences():
    frames = {
        "better than chance": generated(1, 60, 0.7, 0.5, "A"),
        "worse than chance": generated(2, 60, 0.3, 0.5, "B"),
        "no difference seen": generated(3, 60, 0.5, 0.5, "C"),
        "too few to tell": generated(4, 19, 0.9, 0.1, "D"),
    }
    scores = score_levels(pd.concat(frames.values()), HORIZON)
    assert [score.verdict for score in scores] == list(frames)
    again = score_levels(pd.concat(frames.values()), HORIZON)
    assert scores == again


def test_the_interval_is_as_wide_as_theory_says():
    # Independent blocks: variance of the difference = p q / n + p q / m, so ± 1.96 standard errors.
    (score,) = score_levels(generated(7, 200, 0.6, 0.6), HORIZON)
    error = np.sqrt(0.24 / (200 * 12) + 0.24 / (200 * 36))
    assert (score.high - score.low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert score.low < score.difference < score.high


def test_blocks_are_what_counts_not_rows():
    # The same 25 blocks with everything in a block alike: as many rows as before, but only 25 independent cases.
    levels = []
    random = np.random.default_rng(5)
    for block in range(25):
        real, chance = ("bounced" if random.random() < 0.5 else "broke" for _ in range(2))
        levels += [(block, zone, draw, chance if draw else real) for zone in range(12) for draw in range(4)]
    (score,) = score_levels(rows(*levels), HORIZON)
    error = np.sqrt(2 * 0.25 / 25)
    assert (score.high - score.low) / 2 == pytest.approx(1.96 * error, rel=0.3)


def test_nothing_gives_nothing():
    assert score_levels(BY_HAND.iloc[:0], HORIZON) == []
    assert score_levels(rows((0, 1, 0, "unseen"), (0, 1, 1, "broke")), HORIZON) == []
    (untouched,) = score_levels(rows((0, 1, 0, "untouched"), (0, 1, 1, "untouched")), HORIZON)
    assert isinstance(untouched, LevelScore)
    assert np.isnan([untouched.bounced, untouched.difference, untouched.low]).all()
    assert untouched.verdict == "too few to tell"
