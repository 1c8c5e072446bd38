import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from resources.settings import load_settings
from services.platform.errors import HomeInUseError, PlatformError
from services.platform.home import HomeLock, prepare_home, socket_folder
from services.platform.platform import Platform

HOLD = """
import sys
from pathlib import Path
from services.platform.home import HomeLock
HomeLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_simulated_venue_is_not_asked_for_perpetuals(tmp_path: Path) -> None:
    file = tmp_path / "signals.yaml"
    perpetual = "{symbol: BTCUSDT-PERP, venue: BINANCE, pair: BTC/USDT, tick_size: '0.1', lot_size: '0.001'"
    file.write_text(f"instruments:\n  - {perpetual}, trade_stream: aggTrade}}\n")
    platform = Platform(tmp_path / "home", load_settings(file), venue=[])
    with pytest.raises(PlatformError, match="the simulated venue has no perpetuals: leave out BTCUSDT-PERP"):
        platform.start()
    assert not (tmp_path / "home").exists()


def test_second_user_of_a_home_is_told_who_has_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HomeInUseError) as refused:
            HomeLock(tmp_path).acquire()
        assert f"process {holder.pid}" in str(refused.value)
        assert str(tmp_path) in str(refused.value)
        assert "\n" not in str(refused.value)
    finally:
        holder.kill()
        holder.communicate()
    # The file is still there, the lock died with its holder.
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    lock = HomeLock(tmp_path)
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    again = HomeLock(tmp_path)
    again.acquire()
    again.release()


def test_sockets_lie_in_the_home_when_its_path_is_short(tmp_path: Path) -> None:
    assert socket_folder(tmp_path / "h") == tmp_path / "h" / "run"


def test_sockets_of_a_deep_home_lie_in_a_private_folder_that_is_found_again(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 30)
    folder = socket_folder(home)
    try:
        assert folder.parent == Path(tempfile.gettempdir())
        assert folder.stat().st_mode & 0o777 == 0o700
        assert socket_folder(home) == folder
        assert socket_folder(home, "postgres") != folder
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(folder / ".s.PGSQL.5432"))  # raises OSError where the path is too long
        folder.chmod(0o755)
        with pytest.raises(PlatformError, match="not a private folder"):
            socket_folder(home)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        socket_folder(home, "postgres").rmdir()


def test_a_home_that_cannot_be_one_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PlatformError, match="cannot be used as home") as refused:
        prepare_home(file / "below")
    assert "\n" not in str(refused.value)
