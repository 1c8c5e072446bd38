"""How long a connection to PostgreSQL waits for a machine that says nothing.

Belongs here: libpq's options, shared by the lake's catalog and Dagster's storage. Does not belong here: addresses.
"""

from typing import Final

PATIENCE: Final[dict[str, str]] = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""A machine that has gone without a word is noticed within half a minute, so that no run waits for it for ever."""
