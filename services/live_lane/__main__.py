"""`python -m services.live_lane`: settings and addresses from the environment, until SIGTERM.

Belongs here: arguments, logging, signals, exit status. Does not belong here: the work (``lane``).
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from resources.addresses import Addresses, AddressesError, home
from resources.redis_streams import StreamError, masked_url
from resources.settings import Settings, SettingsError, SettingsFile
from services.live_lane.asset_reports import WEBSERVER_VARIABLE
from services.live_lane.lane import LiveLane, LiveLaneError, system_fold_of_stage

SECRET_WORDS: Final = ("password", "secret", "token", "key_id", "api_key", "authorization")
RELOAD_SECONDS: Final = 1.0

log = structlog.get_logger("live_lane")


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Log processor: no password leaves this process, neither as a field nor inside a URL."""
    for name, value in event.items():
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
        elif isinstance(value, str) and "://" in value and "@" in value:
            event[name] = " ".join(masked_url(word) if "://" in word else word for word in value.split(" "))
    return event


def configure_logging() -> None:
    """JSON lines on standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


ENGINE_SECTIONS: Final = frozenset({"anomalies", "strategies", "signals", "learning"})
"""Sections that the folds are made from: a change of theirs renews the engines and leaves the feeds alone."""

OTHERS_SECTIONS: Final = frozenset(
    {"levels", "execution", "performance", "up", "sensor_interval_seconds", "strategic_interval_seconds"}
)
"""What does not concern this service at all."""


def _concerns_the_lane(old: Settings, new: Settings) -> bool:
    return _differ(old, new, set(Settings.model_fields) - ENGINE_SECTIONS - OTHERS_SECTIONS)


def _concerns_the_engines(old: Settings, new: Settings) -> bool:
    return _differ(old, new, set(ENGINE_SECTIONS))


def _differ(old: Settings, new: Settings, sections: set[str]) -> bool:
    return old.model_dump(include=sections) != new.model_dump(include=sections)


def spare_what_lives_long() -> None:
    """Take everything there is out of the garbage collector's rounds.

    Books, machines and modules live as long as the process; a full round over them holds the loop for 130 ms and more.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


async def _watch(file: SettingsFile, lane: LiveLane, running: Settings) -> None:
    """Stop the lane when the configuration it runs with is no longer in force; renew engines if only they care."""
    refused = None
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        if file.reload():
            before, running = running, file.current
            if _concerns_the_lane(before, running):
                log.info("configuration changed: the lane starts anew", file=str(file.path))
                lane.stop()
            elif _concerns_the_engines(before, running):
                log.info("configuration changed: the engines start anew", file=str(file.path))
                lane.renew_engines(running)
        if file.error and file.error != refused:
            log.error("configuration refused, the old one stays in force", error=file.error)
        refused = file.error


async def serve(
    redis_url: str, *, exit_at_end: bool, folder: Path | None = None, groups: Sequence[str] | None = None
) -> None:
    """Run lanes until told to stop; a changed configuration starts a new one from the streams' state."""
    file = SettingsFile()
    told = redis_lost = False
    lane: LiveLane | None = None

    def stop() -> None:
        nonlocal told
        told = True
        if lane is not None:
            lane.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    while not told:
        settings = file.current
        lane = LiveLane(
            settings,
            redis_url,
            home(),
            folder=folder,
            groups=groups,
            webserver_url=os.environ.get(WEBSERVER_VARIABLE),
            exit_at_end=exit_at_end,
            engine_started=spare_what_lives_long,
            system_fold_of=system_fold_of_stage,
            redis_lost=redis_lost,
        )
        watch = asyncio.create_task(_watch(file, lane, settings))
        try:
            outcome = await lane.run()
            if outcome == "ended":
                return
            redis_lost = outcome == "redis_lost"
        finally:
            watch.cancel()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.live_lane", description=__doc__)
    parser.add_argument("--exit-at-end", action="store_true", help="exit when a recording has been served to its end")
    parser.add_argument("--groups", help="lead only these groups, separated by commas (default: all)")
    parser.add_argument("--folder", type=Path, help="where spill, lock and state file live (default: the home)")
    options = parser.parse_args(arguments)
    groups = [name.strip() for name in options.groups.split(",") if name.strip()] if options.groups else None
    configure_logging()
    try:
        redis_url = os.environ.get("SIGNAL_REDIS_URL") or Addresses.resolve().redis_url
        uvloop.run(serve(redis_url, exit_at_end=options.exit_at_end, folder=options.folder, groups=groups))
    except (SettingsError, AddressesError, LiveLaneError, StreamError) as error:
        print(f"live lane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
