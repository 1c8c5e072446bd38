import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from services.platform.daemon_clock import SET_BACK_STATUS, forget_the_future, watch_clock

NOW = 1_760_000_000.0
PATIENCE = 60.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def add_sensor(instance: DagsterInstance, name: str, last_tick: float | None) -> str:
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), location_name="nowhere")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "repository"), name)
    data = SensorInstigatorData(
        last_tick_timestamp=last_tick, last_tick_start_timestamp=last_tick, cursor=f"of {name}", min_interval=5
    )
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, data)
    )
    return name


def test_sensors_that_ran_in_the_future_run_at_once_and_keep_their_cursor(instance: DagsterInstance) -> None:
    for name, last_tick in (("past", NOW - 3.0), ("new", None), ("future", NOW + 7200.0)):
        add_sensor(instance, name, last_tick)
    assert forget_the_future(instance, NOW) == 1
    found = {
        state.instigator_name: state.instigator_data
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    }
    assert (found["past"].last_tick_start_timestamp, found["past"].cursor) == (NOW - 3.0, "of past")
    assert (found["future"].last_tick_start_timestamp, found["future"].last_tick_timestamp) == (None, None)
    assert found["future"].cursor == "of future"
    assert forget_the_future(instance, NOW) == 0


@pytest.mark.parametrize(("step", "leaves"), [(-3600.0, True), (-1.0, False), (3600.0, False)])
def test_only_a_clock_set_back_ends_the_process(step: float, leaves: bool) -> None:
    """Steps back that a time server makes, and steps forward, are lived through."""
    offset = 0.0
    looked, left = threading.Event(), threading.Event()
    status: list[int] = []

    def wall() -> float:
        looked.set()
        return time.time() + offset

    def leave(number: int) -> None:
        status.append(number)
        left.set()

    watch_clock(leave, wall, look_every=0.02)
    assert looked.wait(PATIENCE)
    offset = step
    if leaves:
        assert left.wait(PATIENCE)
        assert status == [SET_BACK_STATUS]
        return
    for _ in range(3):  # it looks again, and again
        looked.clear()
        assert looked.wait(PATIENCE)
    assert not left.is_set()
