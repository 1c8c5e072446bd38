"""A holder of the lake's write lock that is stopped: others go on, and what it does later is harmless."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event

import psycopg2
import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_connection import catalog_dsn
from resources.duck_lake_lock import WRITE_LOCK, WriteLock
from resources.lake import LakeError, Progress

pytestmark = pytest.mark.slow

PATIENCE = 120.0
ASSET, SCOPE = "market/trades", "crypto"


def lock(addresses: Addresses, silence: float) -> WriteLock:
    made = WriteLock(addresses, PATIENCE, lambda: made.close(), silence)
    return made


def hold_for_ever(addresses: Addresses, holds: Event) -> None:
    with lock(addresses, 1.0).hold():
        holds.set()
        time.sleep(3600)


def advance_slowly(addresses: Addresses, holds: Event, go_on: Event, refused: Event) -> None:
    """Like a run: read progress, move it on; stopped between the two."""
    lake = DuckLake(addresses)
    lake._lock = lock(addresses, 1.0)
    try:
        with lake.transaction(asset=ASSET, run_id="stopped") as unit:
            unit.advance(ASSET, SCOPE, None, Progress(0, 10))
            holds.set()
            go_on.wait()
    except LakeError:
        refused.set()


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    started = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    started.start()
    try:
        yield started.pid or 0
    finally:
        started.kill()
        started.join()


def test_a_stopped_holder_loses_the_lock(addresses: Addresses) -> None:
    holds = multiprocessing.get_context("spawn").Event()
    with process(hold_for_ever, addresses, holds) as pid:
        assert holds.wait(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        with lock(addresses, 1.0).hold():  # waits at most PATIENCE
            pass


def test_a_holder_that_lives_keeps_it_however_long_it_works(addresses: Addresses) -> None:
    held = lock(addresses, 8.0)
    with held.hold():
        time.sleep(10.0)  # more than its silence
        held.check()
        assert holders(addresses) == 1
    assert holders(addresses) == 0
    time.sleep(10.0)  # and its connection is not ended while it holds nothing
    held.check()
    held.close()


def test_what_a_stopped_writer_does_later_is_refused(addresses: Addresses) -> None:
    """It was stopped in its transaction, another one has done its work meanwhile, it goes on."""
    context = multiprocessing.get_context("spawn")
    holds, go_on, refused = context.Event(), context.Event(), context.Event()
    lake = DuckLake(addresses)
    lake.ensure(())
    with process(advance_slowly, addresses, holds, go_on, refused) as pid:
        assert holds.wait(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        with lake.transaction(asset=ASSET, run_id="another") as unit:
            unit.advance(ASSET, SCOPE, None, Progress(0, 7))
        os.kill(pid, signal.SIGCONT)  # first: setting an event waits for a process that waits for it
        go_on.set()
        assert refused.wait(PATIENCE)
    assert lake.progress(ASSET, SCOPE) == Progress(0, 7)
    assert lake.query("SELECT run_id FROM lake.platform.progress") == [("another",)]
    lake.close()


def test_the_catalog_refuses_it_even_if_it_was_stopped_right_before_its_commit(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at the lock and the commit there is a moment: then DuckLake itself sees the conflict."""
    first, second = DuckLake(addresses), DuckLake(addresses)
    first.ensure(())
    with first.transaction(asset=ASSET, run_id="begin") as unit:
        unit.advance(ASSET, SCOPE, None, Progress(0, 1))

    def meanwhile() -> None:
        connection = psycopg2.connect(catalog_dsn(addresses))
        connection.autocommit = True
        connection.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", (WRITE_LOCK,)
        )
        connection.close()
        with second.transaction(asset=ASSET, run_id="second") as unit:
            unit.advance(ASSET, SCOPE, Progress(0, 1), Progress(0, 2))

    monkeypatch.setattr(first._lock, "check", meanwhile)
    with pytest.raises(LakeError), first.transaction(asset=ASSET, run_id="first") as unit:
        unit.advance(ASSET, SCOPE, Progress(0, 1), Progress(0, 3))
    assert second.progress(ASSET, SCOPE) == Progress(0, 2)
    assert second.query("SELECT run_id FROM lake.platform.progress") == [("second",)]
    second.close()


def test_a_holder_learns_that_its_session_was_ended(addresses: Addresses) -> None:
    held = lock(addresses, 60.0)
    ended = threading.Event()
    with held.hold():
        connection = psycopg2.connect(catalog_dsn(addresses))
        connection.autocommit = True
        connection.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        connection.close()
        with pytest.raises(LakeError, match="write lock was lost"):
            held.check()
        ended.set()
    assert ended.is_set()


def holders(addresses: Addresses) -> int:
    connection = psycopg2.connect(catalog_dsn(addresses))
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", (WRITE_LOCK,))
        return int(cursor.fetchone()[0])
    finally:
        connection.close()
