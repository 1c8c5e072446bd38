"""PostgreSQL killed under the lake, inside a transaction too: the attempt fails in one line, the process goes on."""

import json
import subprocess
import sys
import tempfile

import pytest

pytestmark = pytest.mark.slow


def test_a_transaction_that_loses_postgres_fails_and_the_process_goes_on() -> None:
    # Not pytest's folder: under root PostgreSQL runs as another user, whom a second pytest would lock out of it.
    with tempfile.TemporaryDirectory(prefix="signals_postgres_") as folder:
        command = [sys.executable, "-m", "tests.faults.lost_postgres", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    outcomes = ["written" if said == "written" else "refused" for said in found["said"]]
    assert outcomes == ["written", "refused", "written", "refused", "refused", "written"]
    assert all("\n" not in said for said in found["said"])
    # All of a transaction or nothing.
    assert found["read"] == [*range(10), *range(20, 30), *range(40, 50)]
