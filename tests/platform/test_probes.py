import http.server
import socket
import threading
from pathlib import Path

import pytest

from services.platform.errors import PlatformError
from services.platform.probes import (
    free_port,
    http_answers,
    port_answers,
    ready_file_names,
    socket_answers,
)


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/here" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_taken_port_is_named_with_the_option_that_chooses_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError) as refused:
            free_port(port, "--port")
        assert str(refused.value) == f"port {port} on 127.0.0.1 is taken: choose another with --port"
        assert port_answers(port)
    assert free_port(port, "--port") == port
    assert not port_answers(port)
    assert free_port(0, "--port") > 0


def test_http_answers_only_on_200() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    assert http_answers(port, "/here")
    assert not http_answers(port, "/elsewhere")
    server.shutdown()
    server.server_close()
    assert not http_answers(port, "/here")


def test_a_socket_file_without_a_listener_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not socket_answers(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert socket_answers(path)
    assert path.exists()
    assert not socket_answers(path)


def test_ready_file_of_a_former_process_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    assert not ready_file_names(path, 12)
    path.write_text("12")
    assert ready_file_names(path, 12)
    assert not ready_file_names(path, 13)
