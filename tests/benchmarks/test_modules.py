"""Benchmarks are run by hand: that each can be loaded is at least known before."""

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import MEASUREMENTS

NAMES = sorted(file.stem for file in Path(benchmarks.__file__).parent.glob("*.py") if not file.stem.startswith("__"))


@pytest.mark.parametrize("name", NAMES)
def test_it_loads(name: str) -> None:
    assert import_module(f"benchmarks.{name}").__doc__


def test_every_measurement_is_one_of_them() -> None:
    assert set(MEASUREMENTS) <= set(NAMES)
