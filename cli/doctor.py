"""``signals doctor``: is everything there that a platform needs.

Belongs here: printing one line per check. Does not belong here: the checks (``services/health_checks``).
"""

import typer

from cli.options import ConfigOption, HomeOption, enter_config, enter_home


def doctor(home: HomeOption = None, config: ConfigOption = None) -> None:
    """Check configuration, services, disk, clock and exchange, one line each; non-zero if any fails.

    Example: signals doctor --home .signal
    """
    from services.health_checks import examine

    enter_config(config)
    failures = 0
    for check in examine(enter_home(home)):
        failures += not check.good
        typer.echo(f"{'ok    ' if check.good else 'FAILED'} {check.name:<14} {check.detail}")
    if failures:
        raise typer.Exit(1)
