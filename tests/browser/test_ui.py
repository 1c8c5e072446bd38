"""Dagster's pages and our report in real Chromium; a screenshot of each is kept under artifacts/."""

import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from resources.duck_lake import DuckLake
from resources.settings import load_settings
from services.backfills import Backfills
from services.demo import run_demo
from services.platform.platform import Platform
from signal_assets.derivation import watermark_of
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
VENUE = ["--seed", "7", "--start", "2025-01-06T23:50:00", "--days", "0.014", "--speed", "max"]
FLOW = ["--diff-milliseconds", "1000", "--trades-per-second", "2", "--levels", "300"]
LONGEST_SECONDS = 120.0


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
    day = Window.of_day(date(2025, 1, 6))
    lake, deadline = DuckLake(platform.addresses), time.monotonic() + LONGEST_SECONDS
    while (watermark_of(lake, "crypto") or 0) < day.end:
        assert time.monotonic() < deadline, "the data did not arrive"
        time.sleep(1)
    lake.close()
    with Backfills(platform.addresses) as backfills:
        for _ in backfills.watch(backfills.launch(day.day, day.day, [])):
            pass


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


def test_the_graph_reads_from_feeds_to_levels(page: Page, platform: Platform) -> None:
    visit(page, platform, "/asset-groups")
    expect(page.get_by_text("Global asset lineage")).to_be_visible()
    places = []
    for stage in ("feeds", "market", "aggregates", "levels"):
        nodes = page.locator("svg, foreignObject").get_by_text(stage, exact=True)
        expect(nodes.last).to_be_visible()
        box = nodes.last.bounding_box()
        assert box is not None
        places.append(box["x"])
    assert places == sorted(places)
    keep(page, "asset-graph")


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
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    expect(page.get_by_role("heading", name="Signal Assets – demo")).to_be_visible()
    summary = result.summary
    for table in summary.tables:
        expect(page.get_by_role("cell", name=table.name, exact=True).first).to_be_visible()
    images = page.locator("img")
    assert images.count() >= 2 * 5 + 3  # both profiles of five instruments; anomalies, prices, equity
    assert all(images.nth(number).evaluate("image => image.naturalWidth") > 300 for number in range(images.count()))
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert all(line.rows > 0 for line in summary.tables if line.name != "market.feed_gaps")
    assert summary.walls
    assert sum(count.by_status.get("validated", 0) for count in summary.signals) > 0
    assert result.market_minutes > 60
    keep(page, "report", full_page=True)
