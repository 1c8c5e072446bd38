"""``signals replay``: a recording through the same ingest path.

Belongs here: options and the printed summary. Does not belong here: the replay itself (``services/replay``).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, HomeOption, OptionError, enter_config, enter_home

LONGEST_NAME = 80


def replay(
    paths: Annotated[list[Path], typer.Argument(help="Recordings: gzip files of `<receive ns> <raw JSON>` lines.")],
    speed: Annotated[str, typer.Option(help="Market seconds per second, or max.")] = "max",
    instrument: Annotated[
        str | None, typer.Option(help="Only this instrument, SYMBOL or SYMBOL.VENUE.", show_default=False)
    ] = None,
    snapshot_seconds: Annotated[
        int | None,
        typer.Option(min=1, max=3_600, help="Grid of the depth snapshots (default: the configuration's)."),
    ] = None,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve a recording to the live lane in a home of its own, materialize its days, print the summary.

    Without --home it keeps its data under the home, in replays/NAME.

    Example: signals replay btcusdt_20240808.gz btcusdt_20240809.gz --speed max
    """
    from cli.progress import steps
    from resources.settings import load_settings

    check_speed(speed)
    for path in paths:
        if not path.is_file():
            raise OptionError(f"{path}: there is no such file")
    enter_config(config)
    load_settings()  # a wrong configuration is said before anything is started
    folder = enter_home(None) / "replays" / name_of(paths) if home is None else enter_home(home)

    with steps("replaying") as report:
        from cli.results import console, print_summary
        from services.replay import run_replay

        result = run_replay(
            folder,
            [path.absolute() for path in paths],
            speed=speed,
            instrument=instrument,
            snapshot_interval_seconds=snapshot_seconds,
            report=report,
        )
    out = console()
    print_summary(out, result.summary)
    out.print(
        f"{len(result.days)} days, {result.sequence_gaps} sequence gaps, {result.crossed_books} crossed books, "
        f"{result.seconds:.1f} s; home {folder}",
        soft_wrap=True,
    )


def check_speed(text: str) -> None:
    """Refuse what is neither max nor a positive number.

    Raises
    ------
    OptionError
        In one line.

    Examples
    --------
    >>> check_speed("20")
    >>> check_speed("fast")
    Traceback (most recent call last):
        ...
    cli.options.OptionError: --speed fast: give market seconds per second (a positive number) or max
    """
    if text == "max":
        return
    try:
        good = 0 < float(text) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise OptionError(f"--speed {text}: give market seconds per second (a positive number) or max")


def name_of(paths: Sequence[Path]) -> str:
    """Name of the home of a replay of these files: the same files, in any folder, share one.

    Examples
    --------
    >>> name_of([Path("a/btcusdt_20240808.gz"), Path("a/btcusdt_20240809.gz")])
    'btcusdt_20240808+btcusdt_20240809'
    """
    return "+".join(path.name.partition(".")[0] or "recording" for path in paths)[:LONGEST_NAME]
