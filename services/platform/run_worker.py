"""A Celery worker as a child: how it is started, how one knows that it takes runs.

Belongs here: command and options, the same for the platform's own workers and for those of other machines. Does not
belong here: the worker's tasks (``services/worker``), which workers a platform has.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from resources.duck_lake_connection import THREADS_VARIABLE
from services.platform import probes

GRACE_SECONDS: Final = 20.0
"""A run in progress may end."""


def worker_command(name: str, queues: Sequence[str], processes: int) -> list[str]:
    """The command of a worker with so many processes.

    Examples
    --------
    >>> worker_command("worker_tactical", ("tactical",), 1)[2:]
    ['celery', '-A', 'services.worker', 'worker', '--pool', 'prefork', '--concurrency', '1', '--queues', 'tactical', \
'--hostname', 'worker_tactical@%h', '--without-gossip', '--without-mingle', '--without-heartbeat', '--loglevel', 'INFO']
    """
    command = [sys.executable, "-m", "celery", "-A", "services.worker", "worker", "--pool", "prefork"]
    command += ["--concurrency", str(processes), "--queues", ",".join(queues), "--hostname", f"{name}@%h"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]


def worker_options(home: Path, name: str, niceness: int) -> Mapping[str, Any]:
    """Options of :class:`ChildProcess` for a worker: ready once it has written its id into its ready file.

    One that stands back for what is live has company on its cores: a second thread of the lake's engine would cost it
    about a quarter of its processor time more, and bring nothing.
    """
    ready = home / "run" / f"{name}.ready"
    environment = {"SIGNAL_READY_FILE": str(ready)} | ({THREADS_VARIABLE: "1"} if niceness else {})
    return {
        "environment": environment,
        "niceness": niceness,
        "is_ready": lambda pid: probes.ready_file_names(ready, pid),
        "stale_files": (ready,),
        "grace": GRACE_SECONDS,
    }
