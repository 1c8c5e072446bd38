"""Where the parts of a running platform answer, and the folder it keeps everything in.

Belongs here: the home, the addresses, and the file and variables that carry them from process to process. Does not
belong here: anything that opens a connection, what the platform computes and how (``settings``).
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

ADDRESSES_FILE: Final = "addresses.json"

_ADDRESS_VARIABLES: Final = {
    "postgres_url": "SIGNAL_POSTGRES_URL",
    "redis_url": "SIGNAL_REDIS_URL",
    "broker_url": "SIGNAL_BROKER_URL",
    "lake_path": "SIGNAL_LAKE_PATH",
}


class AddressesError(RuntimeError):
    """Nobody has said where PostgreSQL, Redis and the lake are."""


def home() -> Path:
    """The folder everything is kept in: ``SIGNAL_HOME``, else ``.signal`` in the current folder (absolute)."""
    return Path(os.environ.get("SIGNAL_HOME") or ".signal").expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of the platform answer. ``redis_url`` is the bus, ``broker_url`` carries Celery's queues."""

    postgres_url: str
    redis_url: str
    broker_url: str
    lake_path: str
    home: Path

    @classmethod
    def resolve(cls, home_path: Path | None = None) -> Self:
        """From the environment, and what it leaves open from ``addresses.json`` of the home.

        Raises
        ------
        AddressesError
            If neither says where a part is.
        """
        folder = home_path if home_path is not None else home()
        values = {field: os.environ[name] for field, name in _ADDRESS_VARIABLES.items() if os.environ.get(name)}
        if len(values) < len(_ADDRESS_VARIABLES):
            values = _read_addresses(folder) | values
        if missing := [name for field, name in _ADDRESS_VARIABLES.items() if field not in values]:
            hint = f" (or set {', '.join(missing)})" if len(missing) < len(_ADDRESS_VARIABLES) else ""
            raise AddressesError(f"no platform is running in {folder}: start one with `signals up`{hint}")
        return cls(**values, home=folder)

    def write(self) -> Path:
        """Leave the addresses in the home, whole or not at all, readable by the owner only."""
        self.home.mkdir(parents=True, exist_ok=True)
        path = self.home / ADDRESSES_FILE
        values = {field: value for field, value in asdict(self).items() if field in _ADDRESS_VARIABLES}
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
        temporary.replace(path)
        return path

    def environment(self) -> dict[str, str]:
        """The variables with which another process finds the same platform."""
        return {"SIGNAL_HOME": str(self.home)} | {
            name: str(getattr(self, field)) for field, name in _ADDRESS_VARIABLES.items()
        }


def _read_addresses(folder: Path) -> dict[str, str]:
    path = folder / ADDRESSES_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AddressesError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise AddressesError(f"{path} should hold an object with {', '.join(_ADDRESS_VARIABLES)}")
    return {field: str(content[field]) for field in _ADDRESS_VARIABLES if field in content}
