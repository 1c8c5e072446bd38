"""Connections to the lake: DuckDB with the DuckLake attached, PostgreSQL as its catalog.

Belongs here: addresses, extensions, attaching. Does not belong here: what is asked over a connection (``duck_lake``).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

import duckdb
import psycopg2

from resources.addresses import Addresses
from resources.duck_lake_sql import CATALOG, first_line, literal
from resources.lake import LakeError
from resources.object_store import in_object_store, secret_of
from resources.postgres_patience import PATIENCE

FIRST_ATTACH_LOCK: Final = 0x51674C62
"""Two processes that attach an empty catalog at the same moment would both create its tables, and one would fail."""

ATTACH_SECONDS: Final = 60
"""How long the others wait for a process that attaches; one that was stopped then loses the lock."""

STOPPED_SECONDS: Final = 300
"""A process that was stopped in the middle of its commit would hold up everybody's: its transaction is ended then.
Longer than any statement that reads or merges files without asking the catalog."""

INLINED_ROWS: Final = 2_000
"""Rows up to which a write stays in the catalog until maintenance flushes it to Parquet."""


THREADS_VARIABLE: Final = "SIGNAL_LAKE_THREADS"
DEFAULT_THREADS: Final = "2"


def extension_path(name: str) -> Path:
    """Where the wheel ``duckdb-extension-<name>`` keeps its binary for this DuckDB.

    Raises
    ------
    LakeError
        If the wheel has none for this DuckDB version.
    """
    module = import_module(f"duckdb_extension_{name}")
    path = Path(str(module.__file__)).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise LakeError(f"the wheel of DuckDB extension {name} has no binary for DuckDB {duckdb.__version__}")
    return path


def catalog_dsn(addresses: Addresses) -> str:
    """PostgreSQL's address in the keyword form that libpq and DuckDB both read."""
    plain = addresses.postgres_url.replace("postgresql+psycopg2://", "postgresql://", 1)
    return str(psycopg2.extensions.make_dsn(**(PATIENCE | psycopg2.extensions.parse_dsn(plain))))


def _engine_dsn(addresses: Addresses) -> str:
    """The same for the engine's own connections."""
    given = psycopg2.extensions.parse_dsn(catalog_dsn(addresses))
    options = f"{given.get('options', '')} -c idle_in_transaction_session_timeout={STOPPED_SECONDS}s".strip()
    return str(psycopg2.extensions.make_dsn(**(given | {"options": options})))


def connect(addresses: Addresses, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the lake attached as ``lake`` and the session in UTC.

    Raises
    ------
    LakeError
        If PostgreSQL or the lake cannot be reached.
    """
    threads = os.environ.get(THREADS_VARIABLE, DEFAULT_THREADS)
    connection = duckdb.connect(":memory:", config={"threads": threads, "autoinstall_known_extensions": "false"})
    mode = ", READ_ONLY" if read_only else ""
    try:
        for name in ("postgres_scanner", "ducklake"):
            connection.execute(f"LOAD '{extension_path(name)}'")
        if in_object_store(addresses.lake_path):
            connection.execute(f"LOAD '{extension_path('httpfs')}'")
            connection.execute(secret_of(addresses.lake_path, os.environ))
        connection.execute("SET TimeZone='UTC'")
        connection.execute("SET ducklake_max_retry_count=100")
        with _alone_at_the_catalog(addresses):
            connection.execute(
                f"ATTACH {literal('ducklake:postgres:' + _engine_dsn(addresses))} AS {CATALOG} "
                f"(DATA_PATH {literal(addresses.lake_path)}, METADATA_SCHEMA '{CATALOG}', "
                f"DATA_INLINING_ROW_LIMIT {INLINED_ROWS}{mode})"
            )
        connection.execute(f"USE {CATALOG}")
    except LakeError:
        connection.close()
        raise
    except (duckdb.Error, psycopg2.Error) as error:
        connection.close()
        raise LakeError(f"cannot open the lake at {addresses.lake_path}: {first_line(error)}") from error
    return connection


@contextmanager
def _alone_at_the_catalog(addresses: Addresses) -> Iterator[None]:
    """Attach one process after the other; the lock falls with its connection."""
    lock = psycopg2.connect(catalog_dsn(addresses))
    try:
        lock.autocommit = True
        for setting in ("lock_timeout", "idle_session_timeout"):
            lock.cursor().execute("SELECT set_config(%s, %s, false)", (setting, f"{ATTACH_SECONDS}s"))
        lock.cursor().execute("SELECT pg_advisory_lock(%s)", (FIRST_ATTACH_LOCK,))
        yield
    finally:
        lock.close()
