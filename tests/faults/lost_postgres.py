"""Writes to a lake whose PostgreSQL is killed in the middle: ``python -m tests.faults.lost_postgres FOLDER``.

A process of its own, because the fault that it is about ends the process. Prints what became of each attempt, as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

import psutil

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import LakeError
from services.platform.embedded_postgres import EmbeddedPostgres
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.tables import TRADES
from tests.lake_rows import frame_of

START = 19_943 * DAY


def kill(postgres: EmbeddedPostgres) -> None:
    """The postmaster and all that serve it, as a machine's end would."""
    pid = postgres.pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=60)


def rows(first: int, count: int = 10) -> list[dict[str, object]]:
    """Trades numbered on from ``first``."""
    numbers = range(first, first + count)
    return [{"instrument": "A.B", "trade_id": n, "event_time": START + (n + 1) * SECOND} for n in numbers]


def main() -> None:
    """Kill at each point in turn."""
    folder = Path(sys.argv[1])
    postgres, said = EmbeddedPostgres(folder / "postgres", folder / "postgres"), list[str]()
    url = postgres.start()
    lake = DuckLake(Addresses(url, "", "", f"{folder}/lake/", folder))
    lake.ensure([TRADES])

    def write(first: int, moment: str) -> None:
        try:
            with lake.transaction(asset="market/trades", run_id=moment) as unit:
                unit.append(TRADES, frame_of(TRADES, rows(first)))
                if moment == "inside":
                    kill(postgres)
                    postgres.start()
                    unit.append(TRADES, frame_of(TRADES, rows(first + 10)))
                if moment == "before the commit":
                    kill(postgres)
        except LakeError as error:
            said.append(str(error))
        else:
            said.append("written")

    write(0, "at peace")
    write(10, "inside")
    write(20, "at peace")
    write(30, "before the commit")
    write(30, "away")
    postgres.start()
    write(40, "at peace")
    kill(postgres)
    postgres.start()
    read = lake.read(TRADES)["trade_id"].tolist()  # over a connection that does not know of the restart
    json.dump({"said": said, "read": read}, sys.stdout)
    lake.close()
    postgres.stop()


if __name__ == "__main__":
    main()
