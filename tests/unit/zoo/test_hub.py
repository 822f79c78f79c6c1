"""Bundles on a hub: a server of this machine stands for it."""

import base64
import hashlib
import http.server
import json
import re
import threading

import pytest

from fer_jax import zoo
from fer_jax.bundle import manifest
from fer_jax.errors import UserError
from fer_jax.zoo import hub
from tests import serving

pytest.importorskip("huggingface_hub")
SHA = "0123456789012345678901234567890123456789"


class Hub(http.server.BaseHTTPRequestHandler):
    """The few requests that one commit and one download take. `stored`: {repository: {file: bytes}}."""

    stored: dict[str, dict[str, bytes]]

    def log_message(self, format, *args):
        pass

    def answer(self, status, body=b"", headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Length", len(body)), ("X-Repo-Commit", SHA), *headers):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)(?:/(revision|tree)/([\w.-]+))?", path):
            name, kind, revision = found.groups()
            if name not in self.stored or revision not in (None, "main", "v1", SHA):
                return self.answer(404, headers=[("X-Error-Code", "RepoNotFound")])
            listed = self.stored[name]
            if kind == "tree":
                about = {"type": "file", "oid": "0"}
                return self.answer(200, [about | {"path": f, "size": len(data)} for f, data in listed.items()])
            return self.answer(200, {"id": name, "sha": SHA, "siblings": [{"rfilename": file} for file in listed]})
        found = re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/[\w.-]+/(.+)", path)
        data = self.stored.get(found[1], {}).get(found[2]) if found else None
        if data is None:
            return self.answer(404, headers=[("X-Error-Code", "EntryNotFound")])
        return self.answer(200, data, [("ETag", f'"{hashlib.sha256(data).hexdigest()}"')])

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer right":
            return self.answer(401, {"error": "Invalid token"})
        if self.path == "/api/repos/create":
            sent = json.loads(body)
            name = f"{sent['organization']}/{sent['name']}" if sent.get("organization") else sent["name"]
            self.stored.setdefault(name, {})
            return self.answer(200, {"url": f"http://{self.headers['Host']}/{name}", "name": name})
        if "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            uploads = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self.answer(200, {"files": uploads})
        if found := re.match(r"/api/models/([\w-]+/[\w-]+)/commit/", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.stored[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"http://{self.headers['Host']}/{found[1]}/commit/{SHA}"
            return self.answer(200, {"commitUrl": address, "commitOid": SHA, "success": True})
        return self.answer(200, {"errors": [], "warnings": []})


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """What an empty hub stores."""
    handler = type("Handler", (Hub,), {"stored": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "right")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(hub.OFFLINE, raising=False)
    monkeypatch.setattr("fer_jax.files.user_cache", lambda: tmp_path / "cache")
    yield handler.stored
    server.shutdown()
    server.server_close()


@pytest.fixture
def bundle(tmp_path):
    return manifest.read(serving.write_bundle(tmp_path / "mine"))


def _push(bundle):
    return hub.push([bundle.path / manifest.MANIFEST, *bundle.files.values()], "hf:me/mine")


def test_a_bundle_comes_back_as_it_went_and_without_a_network(stored, bundle, monkeypatch):
    assert _push(bundle).endswith(f"me/mine/commit/{SHA}")
    assert stored["me/mine"].keys() == {"bundle.json", "model.onnx"}
    stored["me/mine"]["thesis.pdf"] = b"not of the bundle"
    for spec in ("hf:me/mine", "hf:me/mine@v1"):
        found = manifest.read(zoo.resolve(spec))
        assert found.file("onnx").read_bytes() == bundle.file("onnx").read_bytes()
        assert not (found.path / "thesis.pdf").exists()
    stored.clear()
    monkeypatch.setenv(hub.OFFLINE, "1")
    assert manifest.read(zoo.resolve("hf:me/mine")).name == "brightness"
    with pytest.raises(UserError, match="hf:me/other is not in the cache, and not fetched since FER_JAX_OFFLINE"):
        zoo.resolve("hf:me/other")


def test_an_altered_file_is_found(stored, bundle):
    _push(bundle)
    stored["me/mine"]["model.onnx"] += b"\0"
    with pytest.raises(UserError, match="altered"):
        manifest.read(zoo.resolve("hf:me/mine"))


@pytest.mark.parametrize("spec", ["hf:", "hf:name", "hf:a/b/c", "hf:../../x", "hf:a/b@"])
def test_other_names_are_refused(spec):
    with pytest.raises(UserError, match="expected hf:user/name or hf:user/name@revision"):
        hub.parse(spec)


def test_what_the_hub_refuses_is_a_line(stored, bundle, monkeypatch):
    with pytest.raises(UserError, match=r"^hf:me/none: the hub refuses, or cannot be reached \("):
        zoo.resolve("hf:me/none")
    stored["me/empty"] = {"README.md": b"nothing"}
    with pytest.raises(UserError, match=r"hf:me/empty has no bundle\.json"):
        zoo.resolve("hf:me/empty")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(UserError, match="hf:me/mine: the hub refuses"):
        _push(bundle)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="no token to write to hf:me/mine: run hf auth login, or set HF_TOKEN"):
        _push(bundle)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        zoo.resolve("hf:me/nowhere")
