"""``signals label``: say of an alarm whether it was one; the series' threshold follows.

Belongs here: printing. Does not belong here: keeping labels (``signal_assets/anomalies/labels``), what follows from
them (``signal_assets/anomalies/feedback``).
"""

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import HomeOption, enter_home, parse_date


class Verdict(StrEnum):
    """What an alarm was."""

    TRUE = "true"
    FALSE = "false"


def label(
    about: Annotated[str, typer.Argument(help="Id of an anomaly, an incident or a group incident.")],
    verdict: Annotated[Verdict, typer.Argument(help="Whether it was a true or a false alarm.")],
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
    by: Annotated[str, typer.Option(help="Who says so.", show_default=False)] = "",
    valid_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Day (UTC) from which it counts; it must begin an hour or more behind all that is computed.",
            show_default="the next one",
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Say of an alarm whether it was true or false; its series' threshold follows from a midnight (UTC) on.

    Example: signals label 83dec6bfe86d746be62ffbb99f176cbf false --note "exchange maintenance"
    """
    from datetime import UTC, datetime

    from resources.addresses import Addresses
    from resources.duck_lake import DuckLake
    from resources.redis_streams import StreamReader, open_redis
    from resources.settings import load_settings
    from signal_assets.anomalies.feedback import threshold_factors
    from signal_assets.anomalies.folds import anomaly_parameters
    from signal_assets.anomalies.labels import give_label, labels_at, streams_reach
    from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
    from signal_assets.anomalies.tables import ANOMALIES, LABELS
    from signal_assets.event_time import from_datetime, iso
    from signal_assets.window import Window

    begins = None if valid_from is None else Window.of_day(parse_date(valid_from, "--from")).start
    addresses = Addresses.resolve(enter_home(home))
    settings = load_settings()
    groups = settings.groups | {SYSTEM_GROUP: (SYSTEM,)}
    lake = DuckLake(addresses)

    def reached() -> dict[str, int]:
        return streams_reach(StreamReader(open_redis(addresses.redis_url)), groups)

    try:
        lake.ensure([ANOMALIES, LABELS])
        made = give_label(
            lake,
            groups,
            about,
            f"{verdict.value}_alarm",
            now=from_datetime(datetime.now(UTC)),
            valid_from=begins,
            reached=reached if begins is not None else None,
            given_by=by,
            note=note,
        )
        said = labels_at(lake, made.valid_from)
    finally:
        lake.close()
    factors = threshold_factors(said, anomaly_parameters(settings.anomalies, settings.grid_milliseconds))
    for series in dict.fromkeys(made.series):
        typer.echo(f"{series}: {made.verdict}; threshold x {factors[series]:.3f} from {iso(made.valid_from)} on")
