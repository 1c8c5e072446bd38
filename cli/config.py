"""``signals config``: the configuration in force, its check, its schema; and taking back what was learned.

Belongs here: printing. Does not belong here: reading and validating (``resources/settings``).
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, HomeOption, OptionError, enter_config, enter_home

app = typer.Typer(
    name="config",
    help="The configuration: what is in force, whether it is valid, what may stand in it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: signals config check config/signals.yaml",
)


@app.command()
def show(config: ConfigOption = None) -> None:
    """The effective configuration, with defaults and environment variables, as YAML.

    Example: signals config show
    """
    import yaml

    from resources.settings import load_settings, settings_path

    enter_config(config)
    settings = load_settings()
    typer.echo(f"# {settings_path()}, defaults and SIGNAL_… variables merged")
    typer.echo(yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True), sort_keys=False), nl=False)


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="The file (default: the one in force).", show_default=False)
    ] = None,
) -> None:
    """Validate a configuration; one line with file and field when it is wrong.

    Example: signals config check config/signals.yaml
    """
    from resources.settings import load_settings, settings_path

    settings = load_settings(path)
    typer.echo(
        f"{settings_path(path)}: valid, {len(settings.instruments)} instruments in "
        f"{len(settings.groups)} group{'' if len(settings.groups) == 1 else 's'}"
    )


@app.command()
def schema() -> None:
    """The JSON Schema of the configuration, for editors.

    Example: signals config schema > signals.schema.json
    """
    from resources.settings import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False))


@app.command()
def rollback(
    threshold: Annotated[str, typer.Argument(help="Which learned threshold, like min_signal_quality.")],
    value: Annotated[
        float | None, typer.Option(help="What it shall be.", show_default="what it was before the newest version")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Group of instruments.", show_default="the first")] = None,
    home: HomeOption = None,
) -> None:
    """Take a learned threshold back; in force from the next midnight (UTC) on, and learning goes on from there.

    Example: signals config rollback min_signal_quality
    """
    from datetime import UTC, datetime

    from resources.addresses import Addresses
    from resources.duck_lake import DuckLake
    from resources.settings import load_settings
    from signal_assets.event_time import from_datetime, iso
    from signal_assets.learning.derivations import learning_parameters
    from signal_assets.learning.rollback import roll_back
    from signal_assets.learning.tables import THRESHOLDS

    addresses = Addresses.resolve(enter_home(home))
    settings = load_settings()
    chosen = group or next(iter(settings.groups))
    if chosen not in settings.groups:
        raise OptionError(f"--group {chosen}: there are {', '.join(settings.groups)}")
    lake = DuckLake(addresses)
    try:
        lake.ensure([THRESHOLDS])
        now = from_datetime(datetime.now(UTC))
        made = roll_back(lake, chosen, threshold, learning_parameters(settings.learning), now=now, value=value)
    finally:
        lake.close()
    typer.echo(f"{made.name} of {chosen}: {made.value:g} instead of {made.before:g} from {iso(made.valid_from)} on")
