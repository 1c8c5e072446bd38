"""Options that several commands share, and what they do to the process.

Belongs here: ``--home`` and ``--config``, dates, speeds. Does not belong here: options of a single command.
"""

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder everything is kept in (default: SIGNAL_HOME, else .signal).", show_default=False
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file (default: SIGNAL_CONFIG, else config/signals.yaml).", show_default=False
    ),
]


class OptionError(ValueError):
    """An option's value cannot be meant; one line says why."""


def enter_home(home_option: Path | None) -> Path:
    """The home of this command and of every process it starts."""
    from resources.addresses import home

    if home_option is not None:
        os.environ["SIGNAL_HOME"] = str(home_option.expanduser().absolute())
    return home()


def enter_config(config_option: Path | None) -> None:
    """Let this command and every process it starts read that configuration."""
    if config_option is not None:
        os.environ["SIGNAL_CONFIG"] = str(config_option.expanduser().absolute())


def parse_date(text: str, option: str) -> date:
    """A day written ``2026-01-31``.

    Raises
    ------
    OptionError
        If it is not written so.

    Examples
    --------
    >>> parse_date("2024-08-08", "--from")
    datetime.date(2024, 8, 8)
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise OptionError(f"{option} {text}: a day is written like 2024-08-08") from None
