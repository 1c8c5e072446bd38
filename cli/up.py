"""``signals up``: the platform until Ctrl-C.

Belongs here: options of the command. Does not belong here: processes (``services/platform``).
"""

from typing import Annotated

import typer

from cli.options import ConfigOption, HomeOption, enter_config, enter_home


def up(
    home: HomeOption = None,
    config: ConfigOption = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port of the Dagster UI (0: any free one).", show_default="3000"),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Take the market from the simulated venue instead of the exchange.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated venue.")] = 1,
    ui: Annotated[bool, typer.Option(help="Start the Dagster UI.")] = True,
    live: Annotated[bool, typer.Option(help="Start the live lane.")] = True,
) -> None:
    """Platform, live lane and Dagster UI, until Ctrl-C; prints every address.

    Example: signals up --simulated --port 3000
    """
    from resources.settings import load_settings
    from services.platform.platform import Platform
    from services.replay import claim_home

    enter_config(config)
    folder = enter_home(home)
    settings = load_settings()
    claim_home(folder, "live")
    venue = ["--seed", str(seed), "--start", "now", "--speed", "1"] if simulated else None
    platform = Platform(
        folder,
        settings,
        ui_port=port,
        with_ui=ui,
        with_live_lane=live,
        venue=venue,
        report=typer.echo,
    )
    with platform:
        typer.echo("running; Ctrl-C stops everything")
        platform.wait()
        typer.echo("stopping")
