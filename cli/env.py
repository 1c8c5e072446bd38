"""``signals env``: the variables of the running platform.

Belongs here: printing them for a shell. Does not belong here: which there are (``services/platform/environment``).
"""

import os
import shlex

import typer

from cli.options import HomeOption, enter_home


def env(home: HomeOption = None) -> None:
    """The exports with which dagster, dg and celery work against the running platform.

    Example: eval "$(signals env)" && dagster dev
    """
    from resources.addresses import Addresses
    from services.platform.environment import exports

    variables = exports(Addresses.resolve(enter_home(home)))
    if "SIGNAL_CONFIG" in os.environ:
        variables["SIGNAL_CONFIG"] = os.environ["SIGNAL_CONFIG"]
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
