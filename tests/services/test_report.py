from html.parser import HTMLParser

import pytest

from services.report import Pictures, Report, render
from signal_assets.picture import Picture
from tests.services.summaries import SUMMARY, summary

PICTURES = Pictures(
    prices=[Picture("price", "BTC: price & zones", b"\x89PNG1")],
    profiles=[Picture("trades", 'profile of "trades"', b"\x89PNG2")],
    heat_maps=[Picture("heat", "resting orders", b"\x89PNG5")],
    anomalies=[Picture("series", "a series", b"\x89PNG3")],
    equity=[Picture("equity", "equity and drawdown", b"\x89PNG4")],
)


class Page(HTMLParser):
    """What a browser makes of it: elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(Report("A <demo>", "of & by tests", SUMMARY, PICTURES)))


def test_the_contents_name_every_section(page: Page) -> None:
    links = [link["href"] for link in page.of("a")]
    assert links == [f"#{section['id']}" for section in page.of("section")]
    assert len(links) == 8
    assert "Contents" in [nav["aria-label"] for nav in page.of("nav")]


def test_a_section_without_anything_is_left_out() -> None:
    page = Page(render(Report("demo", "", summary(execution=[], thresholds=[]))))
    assert [section["id"] for section in page.of("section")] == [
        *("levels", "anomalies", "signals", "performance", "lake")
    ]
    assert page.of("img") == []


def test_pictures_are_inside_and_say_what_they_show(page: Page) -> None:
    images = page.of("img")
    assert [image["alt"] for image in images] == [
        *("BTC: price & zones", "resting orders", 'profile of "trades"', "a series", "equity and drawdown")
    ]
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)


def test_nothing_is_asked_for_and_nothing_runs(page: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(str(link["href"]).startswith("#") for link in page.of("a"))


def test_whatever_comes_from_outside_is_text(page: Page) -> None:
    assert "A <demo>" in page.texts
    assert "strategy failed: ValueError: <b>[bold]&</b>" in page.texts
    assert page.of("b") == []


def test_figures_come_first(page: Page) -> None:
    start = page.texts.index("walls found")
    figures = [text for text in page.texts[start:] if text.strip()][:14]
    assert dict(zip(figures[::2], figures[1::2], strict=True)) == {
        "walls found": "1 of 2",
        "anomalies found": "3 of 4",
        "alerts": "40",
        "signals validated": "5 of 10",
        "fills": "9",
        "net PnL": "-3.50",
        "thresholds moved": "1 of 2",
    }


def test_columns_of_numbers_and_what_was_missed_can_be_told_apart(page: Page) -> None:
    classes = [cell.get("class") for cell in page.of("td")]
    assert classes.count("found") == classes.count("missed") == 1
    assert classes.count("number") > 40
