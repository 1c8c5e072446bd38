"""``signals backfill``: recompute days through Dagster.

Belongs here: options and progress. Does not belong here: launching and watching (``services/backfills``).
"""

from typing import Annotated

import typer

from cli.options import HomeOption, OptionError, enter_home, parse_date


def backfill(
    first: Annotated[str, typer.Option("--from", help="First day, like 2024-08-08.")],
    last: Annotated[str, typer.Option("--to", help="Last day, itself included.")],
    assets: Annotated[
        list[str] | None,
        typer.Option(
            help="An asset like levels/wave_peaks, or a stage; may be given several times.", show_default="all"
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show progress.")] = True,
    home: HomeOption = None,
) -> None:
    """Recompute whole days from raw in one Dagster back-fill, on the running platform.

    Example: signals backfill --from 2024-08-08 --to 2024-08-09 --assets levels
    """
    start, end = parse_date(first, "--from"), parse_date(last, "--to")
    if end < start:
        raise OptionError(f"--to {last} lies before --from {first}")

    from cli.progress import share
    from resources.settings import Addresses
    from services.backfills import Backfills

    with Backfills(Addresses.resolve(enter_home(home))) as backfills:
        identifier = backfills.launch(start, end, assets or [])
        days = (end - start).days + 1
        typer.echo(f"back-fill {identifier}: {days} day{'' if days == 1 else 's'}, {', '.join(backfills.selected)}")
        if not wait:
            return
        with share("recomputing") as done:
            try:
                for part in backfills.watch(identifier):
                    done(part)
            except KeyboardInterrupt:
                typer.echo(f"back-fill {identifier} goes on without us; the Dagster UI shows it", err=True)
                raise
    typer.echo("done")
