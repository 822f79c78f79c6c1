"""YuNet's file from a server on this machine: redirected, interrupted, altered, absent."""

import contextlib
import hashlib
import http.server
import re
import socket
import threading

import pytest

from fer_jax.errors import UserError
from fer_jax.faces import download, registry, yunet

CONTENT = bytes(range(256)) * 1000


class _Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /file, from where the client asks on if `ranges`; breaks off after `breaks_after` bytes."""

    content, ranges, breaks_after = CONTENT, True, None
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []

    def address(self, path="/file"):
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.address())
            self.end_headers()
            return
        if self.path != "/file":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(registry.YUNET_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(download, "BYTES", len(CONTENT))
    with _Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def _leftovers(folder):
    return sorted(path.name for path in (folder / "fer_jax").iterdir())


def test_it_is_fetched_through_a_redirect_once_and_becomes_the_default(server, tmp_path):
    assert registry.default() == "haar"
    path = download.fetch(server.address("/moved"))
    assert path == tmp_path / "fer_jax" / yunet.FILE
    assert path.read_bytes() == CONTENT
    assert registry.default() == "yunet"
    assert registry.find_model() == str(path)
    assert download.fetch(server.address("/moved")) == path
    assert [asked for asked, _ in server.asked] == ["/moved", "/file"]
    assert _leftovers(tmp_path) == [yunet.FILE]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on_the_next_time(server, tmp_path, ranges):
    server.ranges, server.breaks_after = ranges, 100_000
    with pytest.raises(UserError, match="ended after 100,000 of 256,000 bytes: run it again to go on"):
        download.fetch(server.address())
    assert registry.default() == "haar"
    server.breaks_after = None
    assert download.fetch(server.address()).read_bytes() == CONTENT
    assert server.asked[-1] == ("/file", "bytes=100000-")
    assert _leftovers(tmp_path) == [yunet.FILE]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1] + b"!", "its sha256 is .*, expected "),
        (CONTENT * 3, "its sha256 is .*, expected "),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer, not the file"),
        (b"<!doctype html><title>Sign in</title>", "a web page, not the file"),
    ],
)
def test_what_is_not_the_file_is_named_and_removed(server, tmp_path, content, message):
    server.content = content
    with pytest.raises(UserError, match=message):
        download.fetch(server.address())
    assert _leftovers(tmp_path) == []
    server.content = CONTENT
    assert download.fetch(server.address()).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    path = download.fetch(server.address())
    path.write_bytes(b"damaged")
    assert download.fetch(server.address()).read_bytes() == CONTENT


def test_an_address_without_the_file_and_no_network_say_what_to_do(server, tmp_path):
    with pytest.raises(UserError, match=r"the server answers 404 Not Found: try again, or fetch .* elsewhere"):
        download.fetch(server.address("/gone"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UserError, match=rf"cannot be fetched \(.*refused\): .* put it at {tmp_path}"):
        download.fetch(f"http://127.0.0.1:{port}/file")


def test_a_path_in_the_environment_works_offline(monkeypatch, tmp_path):
    monkeypatch.setenv(registry.YUNET_VARIABLE, str(tmp_path / "mine.onnx"))
    with pytest.raises(UserError, match=r"FER_JAX_YUNET is .*mine.onnx, no file"):
        registry.find_model()
    (tmp_path / "mine.onnx").touch()
    assert registry.find_model() == str(tmp_path / "mine.onnx")
    assert registry.default() == "yunet"


def test_the_checksum_is_that_of_the_published_file(real_data):
    assert download.diagnose(real_data / "models" / yunet.FILE) == ""
