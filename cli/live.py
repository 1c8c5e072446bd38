"""``signals live``: one more live lane beside those that run.

Belongs here: options of the command, and the folder the lane gets. Does not belong here: the lane
(``services/live_lane``), the platform (``up``).
"""

import fcntl
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import ConfigOption, HomeOption, OptionError, enter_config, enter_home

LANES_FOLDER: Final = "lanes"
MOST_LANES: Final = 1_000


def live(
    home: HomeOption = None,
    config: ConfigOption = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Lead only these groups, separated by commas (default: all).", show_default=False),
    ] = None,
    metrics_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one.")] = 0,
    health_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one.")] = 0,
) -> None:
    """One more live lane: it shares the groups with those that run, and takes over what nobody leads, until Ctrl-C.

    PostgreSQL, Redis and lake are those of the platform that runs in the home, or those the environment names; its own
    spill lies under lanes/ there.

    Example: signals live --groups crypto
    """
    from resources.addresses import Addresses
    from resources.settings import load_settings
    from services.live_lane.__main__ import main as run_lane

    enter_config(config)
    folder = enter_home(home)
    load_settings()
    addresses = Addresses.resolve(folder)
    for field, port in (("METRICS_PORT", metrics_port), ("HEALTH_PORT", health_port)):
        os.environ[f"SIGNAL_LIVE__{field}"] = str(port)
    os.environ["SIGNAL_REDIS_URL"] = addresses.redis_url
    words = ["--folder", str(free_folder(folder / LANES_FOLDER))]
    if groups is not None:
        words += ["--groups", groups]
    raise typer.Exit(run_lane(words))


def free_folder(lanes: Path) -> Path:
    """The first of the numbered folders in which no lane runs: what a lane that died had spilled is taken along.

    Raises
    ------
    OptionError
        If there are too many.
    """
    for number in range(1, MOST_LANES + 1):
        folder = lanes / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "live_lane.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
        return folder
    raise OptionError(f"{MOST_LANES} lanes run in {lanes} already")
