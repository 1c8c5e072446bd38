"""The real redis-server of the live lane's tests."""

from tests.live_lane.conftest import redis_server

__all__ = ["redis_server"]
