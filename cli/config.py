"""``signals config``: the configuration in force, its check and its schema.

Belongs here: printing. Does not belong here: reading and validating (``resources/settings``).
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, enter_config

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
