from services.outcome import AnomalyOutcome
from services.text_tables import (
    alert_table,
    execution_table,
    lake_table,
    level_score_table,
    record_table,
    signal_table,
    text_tables,
    threshold_table,
    truth_table,
)
from tests.services.summaries import SUMMARY, summary


def test_tables_come_in_the_order_in_which_data_flows():
    assert [table.title.partition(":")[0].partition(" (")[0] for table in text_tables(SUMMARY)] == [
        "Tables",
        "Strongest peaks",
        "Strongest zones",
        "Planted walls",
        "Zones against random levels",
        "Alerts",
        "Incidents against planted anomalies",
        "Signals by status",
        "Failures",
        "Orders by last status, and fills",
        "Performance at the newest day's end",
        "Thresholds before and after",
    ]
    for table in text_tables(SUMMARY):
        assert all(len(row) == len(table.heads) for row in table.rows), table.title


def test_what_has_no_rows_is_left_out():
    without = summary(walls=[], failures=[], anomalies=AnomalyOutcome(0, 0, {}))
    titles = [table.title for table in text_tables(without)]
    assert len(titles) == 8
    assert not any("planted" in title.lower() or title == "Failures" for title in titles)


def test_what_is_not_there_is_a_dash():
    assert lake_table(SUMMARY.tables).rows == [
        ("market.trades", "1,234", "2024-10-04T00:00:00Z", "2024-10-04T00:01:00Z", "7"),
        ("market.feed_gaps", "0", "–", "–", "–"),
    ]


def test_a_score_says_its_interval_and_what_may_be_said():
    better, few = level_score_table(SUMMARY.level_scores).rows
    assert better[2:] == ("900", "24", "50%", "40%", "60.0%", "50.0%", "+10.0", "+2.5 … +17.5", "better than chance")
    assert few[4:] == ("0%", "25%", "–", "–", "–", "–", "too few to tell")


def test_recall_precision_and_delay_stand_in_the_title():
    table = truth_table(SUMMARY.anomalies)
    assert table.title == (
        "Incidents against planted anomalies: recall 75% (3 of 4), precision 12.5% (5 of 40), median delay 7.0 s"
    )
    assert table.rows == [("price_spike", "3", "3", "7.0"), ("volume_burst", "1", "0", "–")]
    assert alert_table(SUMMARY.anomalies).rows == [("CRITICAL", "30"), ("MEDIUM", "10"), ("not told: grouped", "7")]


def test_signals_add_up_to_what_was_proposed():
    table = signal_table(SUMMARY.signals)
    assert table.heads == ("strategy", "#proposed", "#validated", "#rejected", "#duplicate", "#failed", "#emitted")
    assert table.rows[1] == ("triangular_arbitrage", "8", "5", "1", "2", "0", "4")


def test_money_shares_and_ratios():
    assert execution_table(SUMMARY.execution).rows == [("triangular_arbitrage", "7", "1", "6", "9", "1,234.50", "1.25")]
    assert record_table(SUMMARY.records).rows[1] == ("crypto", "portfolio", "-3.50", "2", "50.0%", "0.25%", "–")


def test_thresholds_before_and_after():
    assert threshold_table(SUMMARY.thresholds).rows == [
        ("crypto", "min_signal_quality", "0.1", "0.105", "2024-10-06T00:00:00Z", "8", "25%"),
        ("crypto", "trend_multiplier", "2", "2", "–", "0", "–"),
    ]
