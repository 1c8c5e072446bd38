"""``python -m benchmarks`` (``make bench``): every measurement, one after the other; nothing printed is typed in.

Belongs here: which there are, in which order. Does not belong here: any of them.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console

from benchmarks import (
    anomaly_market,
    anomaly_scenarios,
    back_fill,
    book_throughput,
    day_run,
    detector_speed,
    dollar_aggregation,
    growth,
    level_outcomes,
    market_analysis,
    minute_windows,
    planted_peaks,
    platform_latency,
    series_load,
    signal_latency,
    snapshot_text,
)
from benchmarks.measurement import console, machine

MEASUREMENTS: Final[dict[str, Callable[[Console], object]]] = {
    "dollar_aggregation": dollar_aggregation.main,
    "market_analysis": market_analysis.main,
    "planted_peaks": planted_peaks.main,
    "level_outcomes": level_outcomes.main,
    "snapshot_text": snapshot_text.main,
    "book_throughput": book_throughput.main,
    "anomaly_scenarios": anomaly_scenarios.main,
    "anomaly_market": anomaly_market.main,
    "detector_speed": detector_speed.main,
    "signal_latency": signal_latency.main,
    "series_load": series_load.main,
    "minute_windows": minute_windows.main,
    "day_run": day_run.main,
    "back_fill": back_fill.main,
    "platform_latency": platform_latency.main,
    "growth": growth.main,
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(MEASUREMENTS)}")
    parser.add_argument(
        "--seconds", type=float, default=platform_latency.SECONDS, help="how long the platform is measured"
    )
    arguments = parser.parse_args(words)
    if unknown := set(arguments.names) - set(MEASUREMENTS):
        parser.error(f"no measurement {min(unknown)!r}; there are {', '.join(MEASUREMENTS)}")
    out = console()
    out.print(machine())
    for name, measure in MEASUREMENTS.items():
        if name in (arguments.names or MEASUREMENTS):
            if name == "platform_latency":
                platform_latency.main(out, arguments.seconds)
            else:
                measure(out)


if __name__ == "__main__":
    main()
