"""A self-contained HTML page of what a home holds: no script, no request, pictures inside.

Belongs here: the page. Does not belong here: reading the lake (``services/summary``), how numbers are written
(``services/text_tables``).
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from services.summary import Summary
from services.text_tables import (
    TextTable,
    alert_table,
    execution_table,
    failure_table,
    lake_table,
    level_score_table,
    peak_table,
    record_table,
    signal_table,
    threshold_table,
    truth_table,
    wall_table,
    zone_table,
)
from signal_assets.picture import Picture

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2933; --quiet: #66717d; --line: #d9dee3; --tile: #f4f6f8;
  --accent: #2f6690; --good: #21704a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e4e8ec; --quiet: #98a3ae; --line: #313940;
  --tile: #1d2329; --accent: #8ab6d6; --good: #6cc495; --bad: #f2857c; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
.page { display: grid; grid-template-columns: 12rem minmax(0, 68rem); gap: 3rem; justify-content: center;
  padding: 2.5rem 1.5rem 5rem; }
nav { position: sticky; top: 2.5rem; align-self: start; font-size: .9rem; }
nav ol { list-style: none; margin: 0; padding: 0; border-left: 2px solid var(--line); }
nav a { display: block; padding: .2rem .9rem; color: var(--quiet); text-decoration: none; }
nav a:hover, nav a:focus { color: var(--accent); }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 3.5rem 0 .3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 0 0 .3rem; }
p.quiet { color: var(--quiet); margin: 0 0 1.2rem; max-width: 46rem; }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); gap: .8rem;
  margin: 1.6rem 0 0; }
dl.tiles div { background: var(--tile); border-radius: 8px; padding: .7rem .9rem; }
dt { color: var(--quiet); font-size: .8rem; } dd { margin: 0; font-size: 1.15rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: 0 0 1.8rem; }
table { border-collapse: collapse; min-width: 28rem; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .32rem 1.1rem .32rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; }
th:last-child, td:last-child { padding-right: .3rem; }
td.number, th.number { text-align: right; }
td.found { color: var(--good); } td.missed { color: var(--bad); }
.pictures { display: grid; gap: 1.2rem; margin: 0 0 1.8rem; }
.pictures.pairs { grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); }
.pictures img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 8px; padding: .7rem; }
@media (max-width: 64rem) { .page { grid-template-columns: minmax(0, 1fr); gap: 1.5rem; padding-top: 1.5rem; }
  nav { position: static; } nav ol { display: flex; flex-wrap: wrap; border-left: 0; }
  nav a { padding: .1rem .9rem .1rem 0; } }
@media (max-width: 32rem) { .pictures.pairs { grid-template-columns: minmax(0, 1fr); } }
@media print { .page { display: block; } nav { display: none; } }
"""


@dataclass(frozen=True)
class Pictures:
    """What the page shows of each stage."""

    prices: Sequence[Picture] = ()
    profiles: Sequence[Picture] = ()
    heat_maps: Sequence[Picture] = ()
    anomalies: Sequence[Picture] = ()
    equity: Sequence[Picture] = ()


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    title: str
    subtitle: str
    summary: Summary
    pictures: Pictures = Pictures()


@dataclass(frozen=True)
class _Section:
    """Heading, what to see there, and its body; without a body it is left out."""

    anchor: str
    heading: str
    about: str
    body: str


def render(report: Report) -> str:
    """The page as HTML text; every value from outside is escaped."""
    sections = [section for section in _sections(report) if section.body]
    entries = "".join(f"<li><a href='#{section.anchor}'>{section.heading}</a></li>" for section in sections)
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta name='viewport' content='width=device-width'><title>{escape(report.title)}</title>",
        f"<style>{_STYLE}</style></head><body><div class='page'>",
        f"<nav aria-label='Contents'><ol>{entries}</ol></nav><main>",
        f"<h1>{escape(report.title)}</h1><p class='quiet'>{escape(report.subtitle)}</p>",
        _tiles(_figures(report.summary)),
        *(
            f"<section id='{section.anchor}'><h2>{section.heading}</h2><p class='quiet'>{section.about}</p>"
            f"{section.body}</section>"
            for section in sections
        ),
        "</main></div></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _sections(report: Report) -> list[_Section]:
    summary, pictures = report.summary, report.pictures
    return [
        _Section(
            "prices",
            "Prices",
            "Mid price over the zones of the trade profile as they stood at each minute. A triangle is a signal, pale "
            "where it was rejected or a duplicate; a ring is a fill.",
            _pictures(pictures.prices),
        ),
        _Section(
            "levels",
            "Levels",
            "Where volume traded and where it rests, over price and time and at the newest minute: peaks, the zones "
            "that the combined ones form, the value area. A scale-space peak is volume over several buckets, and its "
            "confidence a probability; a combined one may be a single large order. A zone is worth something if "
            "price bounces off it more often than off random levels of the same side, width and distance.",
            _pictures(pictures.heat_maps)
            + _pictures(pictures.profiles, "pairs")
            + _tables(
                *(peak_table(summary.peaks), zone_table(summary.zones), wall_table(summary.walls)),
                level_score_table(summary.level_scores),
            ),
        ),
        _Section(
            "anomalies",
            "Anomalies",
            "The most eventful series in the band they were expected in. A burst of anomalies of a series is an "
            "incident; of incidents that happen together people are told once, by one alert. An incident is right "
            "when it opens within something that was planted.",
            _tables(truth_table(summary.anomalies), alert_table(summary.anomalies)) + _pictures(pictures.anomalies),
        ),
        _Section(
            "signals",
            "Signals",
            "What every strategy proposed, what became of it, and what really left the system.",
            _tables(signal_table(summary.signals), failure_table(summary.failures)),
        ),
        _Section(
            "execution",
            "Execution",
            "What the paper broker did with the validated ones. Money is in the account's currency.",
            _tables(execution_table(summary.execution)),
        ),
        _Section(
            "performance",
            "Performance",
            "What it was worth after fees, closed trades first in, first out. A dash stands where a figure is not "
            "defined: a Sharpe ratio needs two days.",
            _tables(record_table(summary.records)) + _pictures(pictures.equity),
        ),
        _Section(
            "learning",
            "Learning",
            "The dynamic thresholds move by one step for each closed day, by the share of confident signals, and come "
            "into force a day later.",
            _tables(threshold_table(summary.thresholds)),
        ),
        _Section(
            "lake",
            "Tables of the lake",
            "Every table in the order in which data flows, with its newest snapshot.",
            _tables(lake_table(summary.tables)),
        ),
    ]


def _figures(summary: Summary) -> dict[str, str]:
    """What the page says first."""
    figures = {}
    if summary.walls:
        figures["walls found"] = f"{sum(wall.found for wall in summary.walls)} of {len(summary.walls)}"
    if summary.anomalies.score is not None:
        figures["anomalies found"] = f"{summary.anomalies.score.found} of {summary.anomalies.score.planted}"
    figures["alerts"] = f"{sum(summary.anomalies.alerts.values()):,}"
    proposed = sum(sum(count.by_status.values()) for count in summary.signals)
    validated = sum(count.by_status.get("validated", 0) for count in summary.signals)
    figures["signals validated"] = f"{validated:,} of {proposed:,}"
    figures["fills"] = f"{sum(count.fills for count in summary.execution):,}"
    portfolios = [record.net_pnl for record in summary.records if record.name == "portfolio"]
    if portfolios:
        figures["net PnL"] = f"{sum(portfolios):,.2f}"
    moved = sum(change.before != change.after for change in summary.thresholds)
    figures["thresholds moved"] = f"{moved} of {len(summary.thresholds)}"
    return figures


def _tiles(figures: Mapping[str, str]) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    return f"<dl class='tiles'>{tiles}</dl>"


def _tables(*tables: TextTable) -> str:
    return "".join(_table(table) for table in tables if table.rows)


def _table(table: TextTable) -> str:
    numeric = [name.startswith("#") for name in table.heads]
    head = "".join(
        f"<th scope='col'{' class=number' if number else ''}>{escape(name.removeprefix('#'))}</th>"
        for name, number in zip(table.heads, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in table.rows)
    title = escape(table.title, quote=True)
    return (
        f"<h3>{title}</h3><div class='scroll'><table aria-label='{title}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, number: bool) -> str:
    kind = "number" if number else text if text in ("found", "missed") else ""
    return f"<td{f' class={kind}' if kind else ''}>{escape(text)}</td>"


def _pictures(pictures: Sequence[Picture], kind: str = "") -> str:
    images = "".join(
        f"<img alt='{escape(picture.title, quote=True)}' "
        f"src='data:image/png;base64,{b64encode(picture.png).decode('ascii')}'>"
        for picture in pictures
    )
    return f"<div class='pictures {kind}'>{images}</div>" if images else ""
