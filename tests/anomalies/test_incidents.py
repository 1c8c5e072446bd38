from signal_assets.anomalies.incidents import NEVER, Incidents
from signal_assets.content_id import content_id
from signal_assets.machine import decode_state, encode_state

SERIES = "market.BTC.volume"


def record(incident):
    return (
        incident.id,
        incident.instrument,
        incident.series,
        incident.opened,
        incident.last,
        incident.anomalies,
        incident.peak_sigma,
        incident.severity,
        incident.direction,
    )


def take(incidents, *anomaly):
    incident, opened = incidents.take(*anomaly)
    return incident.id, opened


def test_a_burst_a_pause_another_burst():
    # Keep firing 300. Burst at 1000, 1200, 1499 (299 apart: still one), quiet until 1499 + 300 = 1799.
    incidents = Incidents(300)
    assert incidents.due == NEVER
    first = content_id(SERIES, 1000)
    assert take(incidents, 1000, "BTC", SERIES, 2.1, "MEDIUM", "above") == (first, True)
    assert take(incidents, 1200, "BTC", SERIES, -5.0, "CRITICAL", "below") == (first, False)
    assert take(incidents, 1499, "BTC", SERIES, 2.6, "HIGH", "above") == (first, False)
    assert incidents.close(1798) == []
    # Seen to be over at the first look at or after 1799.
    (over,) = incidents.close(1805)
    assert record(over) == (first, "BTC", SERIES, 1000, 1499, 3, 5.0, "CRITICAL", "below")
    assert incidents.over_at(over) == 1799
    # What comes exactly that long after the last one opens a new one.
    second = content_id(SERIES, 2105)
    assert take(incidents, 2105, "BTC", SERIES, 2.1, "MEDIUM", "below") == (second, True)
    assert incidents.close(2404) == []
    assert [record(over) for over in incidents.close(2405)] == [
        (second, "BTC", SERIES, 2105, 2105, 1, 2.1, "MEDIUM", "below")
    ]
    assert incidents.due == NEVER


def test_every_series_has_its_own_and_they_close_in_order():
    incidents = Incidents(100)
    incidents.take(10, "ETH", "b", 3.0, "HIGH", "above")
    incidents.take(20, "BTC", "c", 3.0, "HIGH", "above")
    incidents.take(30, "BTC", "a", 3.0, "HIGH", "above")
    incidents.take(60, "ETH", "b", 3.0, "HIGH", "above")
    assert incidents.due == 110  # no later than the true 120: an early look finds nothing
    assert incidents.close(110) == []
    assert incidents.due == 120
    assert [(over.instrument, over.series, over.last) for over in incidents.close(1_000)] == [
        ("BTC", "a", 30),
        ("BTC", "c", 20),
        ("ETH", "b", 60),
    ]


def test_of_equal_peaks_the_first_gives_the_direction():
    incidents = Incidents(100)
    incidents.take(10, "BTC", "a", -3.0, "HIGH", "below")
    incidents.take(20, "BTC", "a", 3.0, "HIGH", "above")
    assert record(incidents.close(120)[0])[-3:] == (3.0, "HIGH", "below")


def test_open_incidents_survive_as_text():
    incidents = Incidents(100)
    incidents.take(10, "ETH", "b", 3.0, "HIGH", "above")
    incident, _ = incidents.take(50, "BTC", "a", 0.1 + 0.2, "MEDIUM", "below")
    incident.group, incident.alerted, incident.suppressed = "g", False, "pending"
    again = Incidents(100)
    again.restore(decode_state(encode_state({"incidents": incidents.state()}))["incidents"])
    assert again.due == incidents.due == 110
    assert take(again, 60, "BTC", "a", 2.0, "MEDIUM", "above") == (content_id("a", 50), False)
    assert take(incidents, 60, "BTC", "a", 2.0, "MEDIUM", "above") == (content_id("a", 50), False)
    assert again.close(200) == incidents.close(200)
    empty = Incidents(100)
    empty.restore([])
    assert empty.due == NEVER
