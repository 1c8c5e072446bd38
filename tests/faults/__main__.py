"""``python -m tests.faults --plans N``: random faults against the whole platform, until something breaks.

Belongs here: arguments, what is printed, exit status. Does not belong here: plans, faults, checks.
"""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.checks import broken
from tests.faults.disturbed_replay import Disturbed, replay
from tests.faults.fault import Plan, draw
from tests.faults.market import Market, make_market
from tests.faults.small_disk import can_mount

RECORDING_SECONDS: Final = 45.0
LONGEST_RECOVERY: Final = 30.0


def main(words: Sequence[str] | None = None) -> int:
    """Run the plans; 1 if one broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--plans", type=int, default=20, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the first plan; the next have the next")
    parser.add_argument("--home", type=Path, help="folder for homes (default: a temporary one)")
    arguments = parser.parse_args(words)
    folder = arguments.home or Path(tempfile.mkdtemp(prefix="signals-faults-"))
    began = time.monotonic()
    if not can_mount():
        print("a full disk is left out: this process may not mount a file system")
    market = make_market(folder / "market", RECORDING_SECONDS)
    seeds = range(arguments.seed, arguments.seed + arguments.plans)
    failed = [seed for seed in seeds if not run_plan(folder, market, draw(seed, can_mount=can_mount()))]
    print(f"{len(seeds) - len(failed)} of {len(seeds)} plans held, {time.monotonic() - began:.0f} s")
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def run_plan(folder: Path, market: Market, plan: Plan) -> bool:
    """Run one plan, print what came of it, keep the home of a broken one."""
    began = time.monotonic()
    print(f"plan {plan.seed}:", flush=True)
    found = None
    try:
        found = replay(folder, market, plan)
        lines = broken(market, found)
    except Exception as error:  # whatever it is, the plan is broken, and the next one has its turn
        lines = [f"{type(error).__name__}: {error}"]
        traceback.print_exc()
    lines += _slow(found)
    if found is None:
        for fault in plan.faults:
            print(f"    {fault}")
    else:
        for recovery in found.recoveries:
            print(f"    {recovery.fault}; recovered in {recovery.seconds:.1f} s")
        for fault in found.skipped:
            print(f"    {fault}; came too late: the recording was over")
        gaps = len(found.raw["market.feed_gaps"])
        print(f"    {found.failed_runs} runs failed, {gaps} feed gaps, restarts: {_restarts(found)}")
    verdict = "held" if not lines else "broken: " + "; ".join(lines)
    print(f"plan {plan.seed} {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    if lines:
        kept = folder / f"plan-{plan.seed}"
        shutil.rmtree(kept, ignore_errors=True)  # of an earlier try
        (folder / "home").rename(kept)
        print(f"    its home: {kept}; again: python -m tests.faults --plans 1 --seed {plan.seed}", flush=True)
    return not lines


def _slow(found: Disturbed | None) -> list[str]:
    slow = [item for item in (found.recoveries if found else ()) if item.seconds > LONGEST_RECOVERY]
    return [f"{item.fault.target} took {item.seconds:.1f} s to recover" for item in slow]


def _restarts(found: Disturbed) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.restarts.items() if count) or "none"


if __name__ == "__main__":
    sys.exit(main())
