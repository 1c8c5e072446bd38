"""A platform in a process of its own, for tests that kill it: ``python -m tests.platform.up HOME FOLDER``."""

import sys
from pathlib import Path

from resources.settings import load_settings
from services.platform.errors import PlatformError
from services.platform.platform import Platform


def main() -> None:
    platform = Platform(
        Path(sys.argv[1]),
        load_settings(),
        with_ui=False,
        with_daemon=False,
        with_live_lane=False,
        definitions_module="tests.platform.tiny_definitions",
        extra_environment={"TINY_FOLDER": sys.argv[2]},
        report=lambda line: print(line, flush=True),
    )
    try:
        platform.start()
        print("started", flush=True)
        platform.wait()
    except PlatformError as error:
        sys.exit(str(error))
    finally:
        platform.stop()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
