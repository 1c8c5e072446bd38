"""A self-contained HTML page of what a home holds: no script, no request, pictures inside.

Belongs here: the page. Does not belong here: reading the lake (``services/summary``).
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from services.summary import TableSummary, Wall
from signal_assets.event_time import iso
from signal_assets.fixed_point import SCALE
from signal_assets.levels.day_pictures import Picture

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --quiet: #8889; --good: #2e8b57; --bad: #c0504d; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.quiet, caption { color: var(--quiet); text-align: left; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem; }
.pictures img { width: 100%; background: white; border-radius: 4px; }
.found { color: var(--good); } .missed { color: var(--bad); }
"""


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    title: str
    subtitle: str
    tables: Sequence[TableSummary]
    peaks: Mapping[str, Sequence[Mapping[str, Any]]]
    zones: Mapping[str, Sequence[Mapping[str, Any]]]
    walls: Sequence[Wall]
    pictures: Sequence[Picture]
    facts: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """The page as HTML text; every value from outside is escaped."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta name='viewport' content='width=device-width'><title>{escape(report.title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(report.title)}</h1><p class='quiet'>{escape(report.subtitle)}</p>",
        _table("Facts", ["what", "figure"], [[name, value] for name, value in report.facts.items()]),
        _table(
            "Tables of the lake",
            ["table", "#rows", "first event", "last event", "#snapshot"],
            [
                [
                    line.name,
                    f"{line.rows:,}",
                    iso(line.first) if line.first is not None else "–",
                    iso(line.last) if line.last is not None else "–",
                    str(line.snapshot if line.snapshot is not None else "–"),
                ]
                for line in report.tables
            ],
        ),
        _pictures(report.pictures),
        _table(
            "Strongest peaks of the trade profile, newest minute",
            ["instrument", "#price", "#volume", "#z-score", "#confidence"],
            [
                [
                    key,
                    f"{row['price']:,.8g}",
                    f"{row['volume']:,.4f}",
                    f"{row['z_score']:.2f}",
                    f"{row['confidence']:.2f}",
                ]
                for key, rows in report.peaks.items()
                for row in rows
            ],
        ),
        _table(
            "Strongest zones of the trade profile, newest minute",
            ["instrument", "side", "#low", "#high", "#strength", "#confidence", "#touches"],
            [
                [
                    key,
                    row["side"],
                    f"{row['low']:,.8g}",
                    f"{row['high']:,.8g}",
                    f"{row['strength']:.1%}",
                    f"{row['confidence']:.2f}",
                    str(row["touches"]),
                ]
                for key, rows in report.zones.items()
                for row in rows
            ],
        ),
        _walls(report.walls),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns whose heading begins with # hold numbers. Nothing when there are no rows."""
    if not rows:
        return ""
    numeric = [name.startswith("#") for name in head]

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if number else ''}>{escape(value.removeprefix('#'))}</{tag}>"
            for value, number in zip(values, numeric, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    images = "".join(
        f"<img alt='{escape(picture.title, quote=True)}' "
        f"src='data:image/png;base64,{b64encode(picture.png).decode('ascii')}'>"
        for picture in pictures
    )
    return f"<h2>Profiles at their newest minute</h2><div class='pictures'>{images}</div>"


def _walls(walls: Sequence[Wall]) -> str:
    if not walls:
        return ""
    found = sum(wall.found for wall in walls)
    rows = "".join(
        f"<tr><td>{escape(wall.instrument)}</td><td>{escape(wall.side)}</td>"
        f"<td class=number>{wall.price / SCALE:,.8g}</td><td class=number>{wall.quantity / SCALE:,.4f}</td>"
        f"<td>{iso(wall.start)}</td><td>{iso(wall.end)}</td><td class=number>{wall.minutes_found} / {wall.minutes}</td>"
        f"<td class='{'found' if wall.found else 'missed'}'>{'found' if wall.found else 'missed'}</td></tr>"
        for wall in walls
    )
    head = "".join(
        f"<th>{name}</th>" for name in ("instrument", "side", "price", "quantity", "from", "to", "minutes", "")
    )
    return (
        f"<h2>Planted walls: {found} found, {len(walls) - found} missed</h2>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
