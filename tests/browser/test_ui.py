"""Dagster's pages and our report in real Chromium; a screenshot of each is kept under artifacts/."""

import re
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from resources.duck_lake import DuckLake
from resources.run_queues import BACKFILL
from resources.settings import load_settings
from services.demo import CLOSED, ENDED, PARTITION_TAG, PICTURED_SERIES, DemoResult, forward_progress, run_demo
from services.platform.platform import Platform
from signal_assets.window import Window
from tests.conftest import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ARTIFACTS = ROOT / "artifacts"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VENUE = ["--seed", "7", "--start", "2025-01-06T23:15:00", "--days", "0.036", "--speed", "max"]
FLOW = ["--diff-milliseconds", "2000", "--trades-per-second", "1", "--levels", "300", "--anomalies-per-day", "200"]
STAGES = [*("feeds", "market", "aggregates", "levels", "signals", "execution", "performance", "learning")]
BESIDE = [*("anomalies", "strategies")]
"""Stages that come after market and before signals, beside others."""
LONGEST_SECONDS = 420.0
STRATEGIC_SECONDS = 10
QUIET_SECONDS = 3.0 * STRATEGIC_SECONDS
"""Without progress for so long the market is over and everything is computed."""

expect.set_options(timeout=30_000)  # a page that waits for its server is not a page that lacks something


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert program is not None, "no Chromium on PATH; `make ui-test` installs one"
    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose simulated market has run over a midnight, its days recomputed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNAL_LIVE__METRICS_PORT", "0")
        patch.setenv("SIGNAL_LIVE__HEALTH_PORT", "0")
        patch.setenv("SIGNAL_STRATEGIC_INTERVAL_SECONDS", str(STRATEGIC_SECONDS))
        home = tmp_path_factory.mktemp("ui") / "home"
        made = Platform(
            home,
            load_settings(),
            ui_port=0,
            venue=[*VENUE, *FLOW],
            extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true"},
            report=lambda line: None,
        )
        with made:
            _recompute(made)
            yield made


def _recompute(platform: Platform) -> None:
    """Run the closed day again once nothing moves any more: its events are then the newest ones of each asset."""
    day = Window.of_day(date(2025, 1, 6))
    deadline = time.monotonic() + LONGEST_SECONDS
    _stand_still(platform, day.end, deadline)
    address = urlsplit(platform.ui_url or "")
    client = DagsterGraphQLClient(str(address.hostname), port_number=address.port)
    run_id = client.submit_job_execution(BACKFILL, tags={PARTITION_TAG: day.day.isoformat()})
    while (status := client.get_run_status(run_id)) not in ENDED:
        assert time.monotonic() < deadline, "the day run did not end"
        time.sleep(1)
    assert status is DagsterRunStatus.SUCCESS


def _stand_still(platform: Platform, beyond: int, deadline: float) -> None:
    """Wait until all forward work has come beyond that time, and no further for a while."""
    lake, reached, since = DuckLake(platform.addresses), 0, time.monotonic()
    try:
        while reached < beyond or time.monotonic() - since < QUIET_SECONDS:
            assert time.monotonic() < deadline, "the data did not arrive"
            time.sleep(1)
            progress = forward_progress(lake, "crypto") or 0
            if progress != reached:
                reached, since = progress, time.monotonic()
    finally:
        lake.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()


def visit(page: Page, platform: Platform, path: str) -> None:
    page.goto(f"{platform.ui_url}{path}")


def keep(page: Page, name: str, **options: Any) -> None:
    page.wait_for_timeout(1_500)  # the page still moves after its text is there
    page.screenshot(path=ARTIFACTS / f"{name}.png", **options)


def test_the_graph_reads_in_the_order_of_the_stages(page: Page, platform: Platform) -> None:
    visit(page, platform, "/asset-groups")
    expect(page.get_by_text("Global asset lineage")).to_be_visible()
    place = {}
    for stage in (*STAGES, *BESIDE):
        nodes = page.locator("svg, foreignObject").get_by_text(stage, exact=True)
        expect(nodes.last).to_be_visible()
        box = nodes.last.bounding_box()
        assert box is not None
        place[stage] = box["x"]
    keep(page, "asset-graph")
    places = [place[stage] for stage in STAGES]
    assert places == sorted(places)
    assert all(place["market"] < place[stage] < place["signals"] for stage in BESIDE)


def test_an_asset_shows_its_columns_metadata_and_picture(page: Page, platform: Platform) -> None:
    visit(page, platform, "/assets/levels/price_zones")
    expect(page.get_by_text("Adjacent combined peaks of one profile")).to_be_visible()
    expect(page.get_by_text("Lower edge of the zone's lowest bucket [quote currency]")).to_be_visible()
    keep(page, "asset")
    visit(page, platform, "/assets/levels/price_zones?view=events")
    expect(page.get_by_text("lake_snapshot").first).to_be_visible()
    page.get_by_text("Show markdown").first.click()
    picture = page.locator("img[src^='data:image/png;base64']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    keep(page, "asset-picture")


@pytest.mark.parametrize(
    ("asset", "title"),
    [
        ("anomalies/metrics", r"market\..* on 2025-01-06 \(anomalies \d+, incidents \d+\)"),
        ("performance/trade_log", r"BTCFDUSD.BINANCE on 2025-01-06: price with zones, signals \(\d+\) and fills"),
        ("performance/equity", "crypto: equity and drawdown of each strategy and of the portfolio on 2025-01-06"),
    ],
)
def test_a_day_run_shows_its_picture(page: Page, platform: Platform, asset: str, title: str) -> None:
    visit(page, platform, f"/assets/{asset}?view=events")
    page.get_by_text("Show markdown").first.click()
    picture = page.locator("img[src^='data:image/png;base64']").first
    expect(picture).to_be_visible()
    expect(picture).to_have_attribute("alt", re.compile(title))
    assert picture.evaluate("image => image.naturalWidth") > 1_000
    keep(page, f"picture-{asset.replace('/', '-')}")


def test_a_day_run_shows_the_table_of_performance(page: Page, platform: Platform) -> None:
    page.set_viewport_size({"width": 1920, "height": 1000})
    visit(page, platform, "/assets/performance/metrics?view=events")
    expect(page.get_by_text("lake_snapshot").first).to_be_visible()
    longer = page.get_by_text("Show markdown")
    if longer.count():  # Dagster shows a short table at once and a longer one in a dialog
        longer.first.click()
    expect(page.get_by_role("cell", name="portfolio", exact=True)).to_be_visible()
    last = page.get_by_role("columnheader", name="exposure", exact=True)
    expect(last).to_be_in_viewport(ratio=1)
    keep(page, "performance-table")


def test_runs_were_started_by_the_sensor(page: Page, platform: Platform) -> None:
    visit(page, platform, "/runs")
    expect(page.get_by_text("stream_sensor").first).to_be_visible()
    expect(page.get_by_text("Success").first).to_be_visible()
    keep(page, "runs")


def test_the_sensor_ticks_and_says_why_it_waits(page: Page, platform: Platform) -> None:
    visit(page, platform, "/locations/signal_assets.definitions/sensors/stream_sensor")
    expect(page.get_by_text("Starts a tactical run for each group whose watermark has moved")).to_be_visible()
    expect(page.get_by_text("0 runs requested").first).to_be_visible()
    keep(page, "sensor")


def test_checks_were_evaluated(page: Page, platform: Platform) -> None:
    visit(page, platform, "/assets/aggregates/dollar_trades?view=checks")
    page.get_by_text("conservation", exact=True).first.click()
    expect(page.get_by_text("trades conserved exactly")).to_be_visible()
    expect(page.get_by_role("row", name="days_failed 0")).to_be_visible()
    keep(page, "checks")


def test_the_report_is_one_page_without_requests(page: Page, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = run_demo(tmp_path / "demo", seed=7, report_path=report, report=lambda line: None)
    summary = result.summary
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    expect(page.get_by_role("heading", name="Signal Assets – demo")).to_be_visible()
    sections = [link.text_content() for link in page.get_by_role("navigation").get_by_role("link").all()]
    assert sections == [
        *("Prices", "Levels", "Anomalies", "Signals", "Execution", "Performance", "Learning", "Tables of the lake")
    ]
    for name in sections:
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    for table in summary.tables:
        expect(page.get_by_role("cell", name=table.name, exact=True)).to_be_visible()
    instruments = len(load_settings().instruments_by_key)
    images = page.locator("img")
    # Price and two profiles each, the heat maps of one, series, equity.
    assert images.count() == instruments * 3 + 2 + PICTURED_SERIES + 1
    for image in images.all():
        assert image.evaluate("image => image.naturalWidth") > 700
        assert str(CLOSED.year) in (image.get_attribute("alt") or "")
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    keep(page, "report", full_page=True)
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep(page, "report-narrow")
    _covers_the_whole_way(result)


def _covers_the_whole_way(result: DemoResult) -> None:
    """Every stage has something to show, and what is printed follows from it."""
    summary = result.summary
    assert {line.name for line in summary.tables if line.rows == 0} <= {
        *("market.feed_gaps", "performance.alerts", "anomalies.drifts")
    }
    assert result.market_minutes > 110
    assert any(wall.found for wall in summary.walls)
    score = summary.anomalies.score
    assert score is not None
    assert (score.planted >= 10, score.recall > 0.3, score.median_delay < 30) == (True, True, True)
    signals = {count.strategy: count for count in summary.signals}
    assert all(sum(count.by_status.values()) > 0 for count in signals.values())
    crossover = signals["moving_average_crossover"]
    assert min(crossover.by_status[status] for status in ("validated", "rejected", "duplicate")) > 0
    assert all(count.emitted == count.by_status["validated"] for count in signals.values())
    assert summary.failures == []
    assert sum(count.fills for count in summary.execution) > 0
    assert summary.records[-1].trades > 0
    assert any(change.before != change.after for change in summary.thresholds)
