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
    go_on: Annotated[
        str | None,
        typer.Option(
            "--continue",
            help="Go on with the back-fill of this id (same days, same assets) instead of beginning anew.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Recompute whole days from raw, as many runs at once as there are workers; folds follow in order of the days.

    What is interrupted leaves whole runs behind: the same command with --continue goes on, without it everything is
    computed anew, with the same rows.

    Example: signals backfill --from 2024-08-08 --to 2024-08-09 --assets levels
    """
    start, end = parse_date(first, "--from"), parse_date(last, "--to")
    if end < start:
        raise OptionError(f"--to {last} lies before --from {first}")

    from cli.progress import share
    from resources.addresses import Addresses
    from services.backfills import Backfills

    with Backfills(Addresses.resolve(enter_home(home))) as backfills:
        running = backfills.prepare(start, end, assets or [], go_on)
        days = (end - start).days + 1
        typer.echo(f"back-fill {running.identifier}: {days} day{'' if days == 1 else 's'}, {', '.join(running.assets)}")
        if go_on is not None:
            typer.echo(f"{running.done} of {running.pieces} runs are done already")
        with share("recomputing") as done:
            try:
                for step in running.follow():
                    done(step.share)
                    if step.line:
                        typer.echo(step.line)
            except KeyboardInterrupt:
                typer.echo(f"runs on their way end by themselves; go on with --continue {running.identifier}", err=True)
                raise
    typer.echo("done")
