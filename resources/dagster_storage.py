"""Dagster's storage: PostgreSQL, at the address in the environment; a throw-away one for ``dg check defs``.

Belongs here: choosing the storage of the instance. Does not belong here: the lake, and what Dagster stores.
"""

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from typing import Any, Final

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import Engine, create_engine, event

from resources.postgres_outage_log import PostgresOutageLog
from resources.postgres_patience import PATIENCE

POSTGRES_VARIABLE: Final = "SIGNAL_POSTGRES_URL"
VALIDATION_VARIABLE: Final = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Set by ``dg check defs``, which loads ``dagster.yaml`` but needs nothing that is stored."""


class PlatformStorage(DagsterPostgresStorage):
    """Named in ``dagster.yaml``; what Dagster gets from it is one of its own storages.

    Dagster resolves ``env:`` in its configuration before anything is chosen, so that a missing address would end every
    command in a stack trace, ``dg check defs`` included.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No options: addresses come from the environment."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """PostgreSQL at ``SIGNAL_POSTGRES_URL``, or SQLite in a temporary folder while definitions are validated.

        Raises
        ------
        RuntimeError
            If there is no address and Dagster does more than validate.
        """
        if url := os.environ.get(POSTGRES_VARIABLE):
            return _with_kept_connections(DagsterPostgresStorage(postgres_url=url, inst_data=inst_data))
        if os.environ.get(VALIDATION_VARIABLE):
            return _storage_of_this_process(inst_data)
        raise RuntimeError(f'{POSTGRES_VARIABLE} is not set: start `signals up`, then eval "$(signals env)"')


def _with_kept_connections(storage: DagsterPostgresStorage) -> DagsterPostgresStorage:
    """Let its parts share this process' connections: by itself Dagster opens one per statement, hundreds in a run."""
    parts: tuple[Any, ...] = (storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    for part in parts:
        part._engine = _engine(storage.postgres_url, os.getpid())
    return storage


@lru_cache(maxsize=1)
def _engine(url: str, process: int) -> Engine:
    """Connections of one process; each is tried before it is used, so a database that came back is found again."""
    del process  # a forked one must not use them
    engine = create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=20, pool_pre_ping=True, connect_args=PATIENCE
    )
    outage = PostgresOutageLog()
    outage.install()
    event.listen(engine, "connect", outage.connected)
    return engine


def close_connections() -> None:
    """Close those of this process, before it forks; the next use opens new ones."""
    if url := os.environ.get(POSTGRES_VARIABLE):
        _engine(url, os.getpid()).dispose()


def _storage_of_this_process(inst_data: ConfigurableClassData | None) -> DagsterSqliteStorage:
    folder = tempfile.mkdtemp(prefix="signals_validation_")
    # Not a TemporaryDirectory: Dagster keeps the parts of the storage longer than the storage itself.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return DagsterSqliteStorage(folder, inst_data)
