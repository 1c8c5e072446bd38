"""What a summary looks like on a terminal that is a file."""

from io import StringIO

from rich.console import Console

from cli.results import WIDTH_OF_A_FILE, print_summary
from services.outcome import AnomalyOutcome
from services.summary import Summary
from tests.services.summaries import SUMMARY, summary


def printed(what: Summary = SUMMARY) -> str:
    file = StringIO()
    print_summary(Console(file=file, highlight=False, width=WIDTH_OF_A_FILE), what)
    return file.getvalue()


def test_every_table_stands_below_its_title() -> None:
    lines = printed().splitlines()
    title = lines.index("Signals by status")
    assert lines[title + 1].split() == [
        *("strategy", "proposed", "validated", "rejected", "duplicate", "failed", "emitted")
    ]
    assert lines[title + 3].split() == ["triangular_arbitrage", "8", "5", "1", "2", "0", "4"]
    assert lines[title + 4] == ""
    assert (
        "Incidents against planted anomalies: recall 75% (3 of 4), precision 12.5% (5 of 40), median delay 7.0 s"
        in lines
    )


def test_brackets_are_text_and_no_markup() -> None:
    assert "ValueError: <b>[bold]&</b>" in printed()


def test_a_replay_without_truth_prints_no_score() -> None:
    without = summary(walls=[], anomalies=AnomalyOutcome(1_500, 40, {"CRITICAL": 30}))
    assert "planted" not in printed(without)
    assert "Alerts (1,500 anomalies, 40 closed incidents in 0 group incidents)" in printed(without)
