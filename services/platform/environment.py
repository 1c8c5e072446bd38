"""What the platform's processes, and a shell beside them, need to know: variables and Dagster's home.

Belongs here: environment variables, the files in DAGSTER_HOME. Does not belong here: processes.
"""

import shutil
from pathlib import Path
from typing import Final

import yaml

from resources.addresses import Addresses
from services.platform.errors import PlatformError

DEFAULT_DEFINITIONS: Final = "signal_assets.definitions"


def dagster_home(home: Path) -> Path:
    """``DAGSTER_HOME`` of a platform: Dagster's configuration, run logs and artifacts."""
    return home / "dagster"


def exports(addresses: Addresses) -> dict[str, str]:
    """The variables with which ``dagster dev``, ``dg`` and ``celery -A services.worker`` work with a running platform.

    Also leaves ``dagster.yaml`` in ``DAGSTER_HOME``, if it is not there yet.
    """
    folder = dagster_home(addresses.home)
    if not (folder / "dagster.yaml").exists():
        prepare_dagster_home(addresses.home)
    return addresses.environment() | {"DAGSTER_HOME": str(folder)}


def prepare_dagster_home(home: Path) -> Path:
    """Copy the instance configuration of this version into ``DAGSTER_HOME`` and return that folder."""
    folder = dagster_home(home)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "dagster.yaml"
    temporary = target.with_suffix(".new")
    shutil.copyfile(_instance_configuration(), temporary)
    temporary.replace(target)
    return folder


def _instance_configuration() -> Path:
    here = Path(__file__).resolve().parent
    candidates = (here / "dagster.yaml", here.parents[1] / "dagster.yaml")  # installed, in a checkout
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise PlatformError(f"the installation is incomplete: there is no {candidates[0]}")


def write_workspace(home: Path, socket: Path, location: str = DEFAULT_DEFINITIONS) -> Path:
    """Write the workspace of webserver and daemon: the running code server, by the name it also has in a checkout."""
    path = dagster_home(home) / "workspace.yaml"
    path.write_text(
        yaml.safe_dump({"load_from": [{"grpc_server": {"socket": str(socket), "location_name": location}}]}), "utf-8"
    )
    return path
