"""``signals worker``: processes that take runs of a platform that lives elsewhere, until Ctrl-C.

Belongs here: options of the command. Does not belong here: the worker (``services/platform/shared_workers``).
"""

from typing import Annotated

import typer

from cli.options import ConfigOption, HomeOption, OptionError, enter_config, enter_home


def worker(
    queues: Annotated[
        str, typer.Option("--queues", help="Which runs to take: tactical, backfill, maintenance; separated by commas.")
    ] = "backfill",
    processes: Annotated[int, typer.Option(min=1, max=256, help="How many runs at once.")] = 1,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Run workers that share another platform's PostgreSQL, Redis and lake, from a home of their own, until Ctrl-C.

    Where those are, say SIGNAL_POSTGRES_URL, SIGNAL_REDIS_URL, SIGNAL_BROKER_URL and SIGNAL_LAKE_PATH (a folder that
    both machines see, or s3://bucket/prefix with the usual AWS_ variables). The configuration has to be the platform's.

    Example: signals worker --home ./worker --queues backfill --processes 2
    """
    from resources.settings import load_settings
    from services.platform.shared_workers import SharedWorkers
    from services.replay import claim_home

    wanted = [name.strip() for name in queues.split(",") if name.strip()]
    if not wanted:
        raise OptionError("--queues names no queue: try --queues backfill")
    enter_config(config)
    folder = enter_home(home)
    load_settings()
    workers = SharedWorkers(folder, wanted, processes, report=typer.echo)
    claim_home(folder, "worker")
    with workers:
        typer.echo(f"{workers.name} takes runs of {', '.join(wanted)}, {processes} at once; Ctrl-C stops it")
        workers.wait()
        typer.echo("stopping")
