"""``python -m benchmarks`` (``make bench``): every measurement, one after the other; nothing printed is typed in.

Belongs here: which there are, in which order. Does not belong here: any of them.
"""

import argparse
from collections.abc import Sequence

from benchmarks import (
    back_fill,
    book_throughput,
    day_run,
    dollar_aggregation,
    growth,
    planted_peaks,
    platform_latency,
    signal_latency,
)
from benchmarks.measurement import console, machine

NAMES = (
    "dollar_aggregation",
    "planted_peaks",
    "book_throughput",
    "signal_latency",
    "day_run",
    "back_fill",
    "platform_latency",
    "growth",
)


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    parser.add_argument(
        "--seconds", type=float, default=platform_latency.SECONDS, help="how long the platform is measured"
    )
    arguments = parser.parse_args(words)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no measurement {min(unknown)!r}; there are {', '.join(NAMES)}")
    wanted = arguments.names or NAMES
    out = console()
    out.print(machine())
    if "dollar_aggregation" in wanted:
        dollar_aggregation.main(out)
    if "planted_peaks" in wanted:
        planted_peaks.main(out)
    if "book_throughput" in wanted:
        book_throughput.main(out)
    if "signal_latency" in wanted:
        signal_latency.main(out)
    if "day_run" in wanted:
        day_run.main(out)
    if "back_fill" in wanted:
        back_fill.main(out)
    if "platform_latency" in wanted:
        platform_latency.main(out, arguments.seconds)
    if "growth" in wanted:
        growth.main(out)


if __name__ == "__main__":
    main()
