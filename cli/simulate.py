"""``signals simulate``: a recording of the simulated venue.

Belongs here: options of the command. Does not belong here: the market model (``services/simulated_venue``).
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, OptionError, enter_config, parse_date

LONGEST_DAYS = 366.0


def simulate(
    out: Annotated[Path, typer.Option(help="File to write; its truth goes beside it, with .truth.json behind.")],
    days: Annotated[float, typer.Option(help="How many days of market time.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same options: same bytes.")] = 1,
    start: Annotated[
        str | None, typer.Option(help="First day, like 2025-01-03 (default: that one, a Friday).", show_default=False)
    ] = None,
    instrument: Annotated[
        list[str] | None,
        typer.Option(help="Only this symbol of the configuration; may be given several times.", show_default=False),
    ] = None,
    gaps_per_day: Annotated[float, typer.Option(min=0, help="Feed gaps a day and instrument.")] = 0.0,
    sparse: Annotated[bool, typer.Option("--sparse", help="Few messages: a diff every 5 s, small books.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write a recording of the simulated venue, with its truth beside it.

    Example: signals simulate --days 1 --seed 7 --sparse --out market.gz
    """
    if not 0 < days <= LONGEST_DAYS:
        raise OptionError(f"--days {days:g}: give more than 0 and at most {LONGEST_DAYS:g}")
    first = parse_date(start, "--start") if start is not None else None
    if out.exists() and not force:
        raise OptionError(f"{out} is there already: choose another --out, or --force")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"{out.absolute().parent} is no folder")
    enter_config(config)

    from cli.progress import share
    from resources.settings import load_settings
    from services.simulated_venue.market_plan import FlowSettings
    from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
    from services.simulated_venue.recording import write_recording
    from signal_assets.event_time import start_of_date

    known = {item.symbol: item for item in load_settings().instruments_by_key.values()}
    symbols = [name.partition(".")[0] for name in instrument or known]
    if unknown := [symbol for symbol in symbols if symbol not in known]:
        raise OptionError(f"--instrument {unknown[0]}: the configuration has {', '.join(known)}")
    flow = OrderFlow(
        [known[symbol] for symbol in dict.fromkeys(symbols)],
        start=start_of_date(first) if first is not None else DEFAULT_START,
        seed=seed,
        days=days,
        settings=FlowSettings.sparse(gaps_per_day=gaps_per_day) if sparse else FlowSettings(gaps_per_day=gaps_per_day),
    )
    try:
        with share(f"simulating {days:g} days") as done:
            truth = write_recording(out, flow, progress=done)
    except OSError as error:
        raise OptionError(f"{out} cannot be written: {error.strerror or error}") from None
    typer.echo(f"{out}: {out.stat().st_size / 1e6:,.1f} MB, {len(flow.instruments)} instruments, seed {seed}")
    typer.echo(f"{truth}: what was planted")
