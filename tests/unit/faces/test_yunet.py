"""YuNet's file from a server on this machine: right, wrong, slow, refused, cut short, no room, no place to keep it."""

import errno
import hashlib
import http.server
import os
import pathlib
import socket
import threading
import time

import pytest

from fer_jax.errors import UserError
from fer_jax.faces import registry, yunet

CONTENT = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the path says."""

    def do_GET(self):
        self.server.asked += 1
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/right")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/silent":
            self.server.release.wait()
            return
        body = {"/right": CONTENT, "/wrong": CONTENT[::-1], "/page": b"<html>", "/endless": CONTENT * 2}
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body.get(self.path, CONTENT[:1000]))
        while self.path == "/dripping" and not self.server.release.wait(0.1):
            self.wfile.write(b".")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """`server("/right")` lets YuNet be fetched from that path; `server.asked` counts the requests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    for name in (yunet.VARIABLE, yunet.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(yunet, "BYTES", len(CONTENT))
    monkeypatch.setattr(yunet, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(yunet, "TOTAL_SECONDS", 0.5)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads, made.asked, made.release = True, 0, threading.Event()
    made.use = lambda path: monkeypatch.setattr(yunet, "ADDRESS", f"http://127.0.0.1:{made.server_port}{path}")
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.release.set()
    made.shutdown()
    made.server_close()
    thread.join()


def kept():
    """Names in the cache."""
    return sorted(path.name for path in yunet.cached().parent.iterdir())


def test_the_first_use_fetches_it_with_one_line(server, capsys):
    server.use("/moved")
    assert registry.default() == "yunet"
    (line,) = capsys.readouterr().err.splitlines()
    for word in ("YuNet", "MB", "MIT", yunet.ADDRESS, str(yunet.cached())):
        assert word in line
    asked = server.asked
    assert registry.default() == "yunet"
    assert yunet.find() == str(yunet.cached())
    assert (yunet.cached().read_bytes(), server.asked, capsys.readouterr().err) == (CONTENT, asked, "")
    assert kept() == [yunet.FILE]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/wrong", "SHA-256"),
        ("/page", "bytes"),
        ("/endless", f"{len(CONTENT) + 1:,} bytes"),
        ("/short", "1,000 bytes"),
        ("/gone", "404"),
        ("/silent", "no connection within"),
        ("/dripping", "complete"),
    ],
)
def test_haar_goes_on_for_a_day_where_it_cannot_be_fetched(server, capsys, path, word):
    server.use(path)
    started = time.monotonic()
    assert registry.default() == "haar"
    assert time.monotonic() - started < 1.5 * (yunet.CONNECT_SECONDS + yunet.TOTAL_SECONDS)
    _, line = capsys.readouterr().err.splitlines()
    assert word in line
    assert "Haar" in line
    failed = yunet.cached().with_suffix(".failed")
    assert kept() == [failed.name]

    server.use("/right")
    asked = server.asked
    assert registry.default() == "haar"
    assert (server.asked, capsys.readouterr().err) == (asked, "")
    an_hour_more = time.time() - yunet.RETRY_SECONDS - 3600
    os.utime(failed, (an_hour_more, an_hour_more))
    assert registry.default() == "yunet"
    assert kept() == [yunet.FILE]


def test_a_refused_connection_and_an_unknown_name(server, capsys, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UserError, match=r"Connection refused.*put .*--detector-model"):
        yunet.fetch(f"http://127.0.0.1:{port}/right")
    with pytest.raises(UserError, match="unknown url type"):
        yunet.fetch("right")


def test_a_name_that_is_never_looked_up_ends_in_time(server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: server.release.wait())
    with pytest.raises(UserError, match="no connection within"):
        yunet.fetch()


def test_a_failure_is_not_remembered_against_the_command(server, capsys):
    server.use("/gone")
    assert registry.default() == "haar"
    server.use("/right")
    assert yunet.fetch() == yunet.cached()
    assert registry.default() == "yunet"


def test_what_is_in_the_cache_is_used_only_if_it_is_the_file(server):
    server.use("/right")
    yunet.cached().parent.mkdir(parents=True)
    yunet.cached().write_bytes(CONTENT[:100])
    assert yunet.find() == ""
    assert registry.default() == "yunet"
    assert yunet.cached().read_bytes() == CONTENT


def test_the_network_is_left_alone_where_nothing_could_be_kept(server, capsys):
    server.use("/right")
    pathlib.Path(yunet.cached().parent).write_text("a file in the folder's place", encoding="utf-8")
    assert registry.default() == "haar"
    (line,) = capsys.readouterr().err.splitlines()
    assert "exists" in line or "directory" in line
    assert server.asked == 0


def test_a_full_disk(server, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    server.use("/right")
    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    assert registry.default() == "haar"
    assert "No space left on device" in capsys.readouterr().err
    assert kept() == [yunet.cached().with_suffix(".failed").name]


@pytest.mark.parametrize("choice", ["offline", "haar", "file"])
def test_the_network_is_never_asked(server, monkeypatch, tmp_path, choice):
    server.use("/right")
    if choice == "offline":
        monkeypatch.setenv(yunet.OFFLINE, "1")
        assert registry.default() == "haar"
        with pytest.raises(UserError, match=yunet.OFFLINE):
            registry.create("yunet")
    elif choice == "haar":
        assert registry.create("haar").name == registry.Detectors("haar").of(True).name == "haar"
    else:
        monkeypatch.setenv(yunet.VARIABLE, str(tmp_path / "mine.onnx"))
        with pytest.raises(UserError, match=r"FER_JAX_YUNET is .*mine.onnx, no file"):
            registry.default()
        (tmp_path / "mine.onnx").touch()
        assert (registry.default(), yunet.find()) == ("yunet", str(tmp_path / "mine.onnx"))
        assert registry.default("other.onnx") == "yunet"
    assert server.asked == 0


def test_the_real_file_has_this_checksum(yunet_model):
    content = yunet_model.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (yunet.BYTES, yunet.SHA256)
