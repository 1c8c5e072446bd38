"""Writes the asset specs down anew: ``python -m tests.definitions.write_specs``, then read the difference."""

import json

from signal_assets.definitions import definitions
from tests.definitions.test_definitions import SNAPSHOT, describe

if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(describe(definitions), indent=1, ensure_ascii=False) + "\n", "utf-8")
