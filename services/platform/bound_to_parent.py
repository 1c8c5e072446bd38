"""Start a command that ends with its parent: ``python bound_to_parent.py PARENT_PID COMMAND…``.

Run by path, with nothing but the standard library, because it stands in front of every child: it asks the kernel
(Linux) to send SIGTERM when the parent dies in whichever way, then becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Bind this process to its parent and become the command."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before we had asked
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 – becoming the command is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
