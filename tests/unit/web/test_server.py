"""The server: what it serves, to whom, and its limits."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from fer_jax.errors import UserError
from fer_jax.faces import cropping
from fer_jax.serve import Classifier
from fer_jax.web import protocol, rest, server
from fer_jax.web.server import Session, detectors
from tests import serving
from tests.unit.web.conftest import PATIENCE_SECONDS, client_of, frame, jpeg_of, listening

WHOLE_PICTURE = json.dumps({"detector": "none", "smoothing": "none", "explain": False})


def _connect(client, **headers):
    """A connection as the page opens it."""
    return client.ws_connect("/socket", headers={"Origin": _origin(client)} | headers)


def _origin(client):
    return f"http://{client.host}:{client.port}"


async def _next(connection):
    message = await connection.receive(PATIENCE_SECONDS)
    assert message.type == WSMsgType.TEXT, message
    ((kind, content),) = json.loads(message.data).items()
    return kind, content


async def _greeted(client):
    """A connection that takes each frame for a face."""
    connection = await _connect(client)
    assert (await _next(connection))[0] == "hello"
    await connection.send_str(WHOLE_PICTURE)
    return connection


async def test_the_page_s_files_come_with_rules_for_the_browser_and_no_others_are_served(analyzer):
    async with client_of(analyzer) as client:
        for path in ("/", "/page.js", "/page.css", "/drawing.js", "/icon.svg"):
            answer = await client.get(path)
            assert answer.status == 200
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert not path.endswith(".js") or answer.content_type in ("text/javascript", "application/javascript")
        for path in ("/server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/nothing"):
            assert (await client.get(path)).status in (403, 404), path
        assert (await client.get("/socket", headers={"Origin": _origin(client)})).status == 400


async def test_other_pages_may_not_connect(analyzer):
    async with client_of(analyzer) as client:
        for origin in ("https://elsewhere.example", "http://127.0.0.1:1", "http://localhost", "null", "", "http://["):
            assert await _refused(client, {"Origin": origin}) == 403
        assert await _refused(client, {}) == 403
        await _greeted(client)


async def _refused(client, headers):
    """The status with which the socket is refused."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/socket", headers=headers)
    return refused.value.status


async def test_foreign_names_are_refused(analyzer):
    async with client_of(analyzer, host="camera.lan") as client:
        for host, status in (("camera.lan:1", 200), ("rebound.example:8765", 403), ("", 403)):
            assert (await client.get("/", headers={"Host": host})).status == status


@pytest.mark.parametrize("host", ["faces.example", None])
async def test_a_proxy_s_page_may_connect_under_its_public_origin(analyzer, host):
    """Whether the proxy passes on the name that the browser asked for or not."""
    async with client_of(analyzer, public_origins=["https://faces.example"]) as client:
        headers = {"Host": host} if host else {}
        assert (await client.get("/", headers=headers)).status == 200
        connection = await client.ws_connect("/socket", headers=headers | {"Origin": "https://faces.example"})
        assert (await _next(connection))[0] == "hello"
        assert await _refused(client, headers | {"Origin": "https://elsewhere.example"}) == 403


async def test_malformed_messages_are_refused_and_the_next_one_is_answered(analyzer):
    async with client_of(analyzer) as client:
        connection = await _greeted(client)
        malformed = (("{", "not JSON", None), (b"", "a frame of 0 bytes", None), (frame(5, b"x"), "no JPEG file", 5))
        for message, reason, number in malformed:
            await (connection.send_bytes if isinstance(message, bytes) else connection.send_str)(message)
            answer, content = await _next(connection)
            assert (answer, content["frame"]) == ("refused", number)
            assert reason in content["reason"]
        for number, label in ((6, 3), (7, 5)):
            await connection.send_bytes(frame(number, jpeg_of(label)))
            kind, scene = await _next(connection)
            assert (kind, scene["frame"], scene["width"], scene["height"]) == ("scene", number, 64, 48)
            assert [face["label"] for face in scene["faces"]] == [label]


async def test_a_message_that_is_too_large_ends_its_own_connection_only(analyzer, monkeypatch):
    async with client_of(analyzer) as client:
        other, connection = await _greeted(client), await _greeted(client)
        with contextlib.suppress(ConnectionError):  # it is not read to its end
            await connection.send_bytes(bytes(4 * protocol.MAX_BYTES))
        assert (await connection.receive(PATIENCE_SECONDS)).type != WSMsgType.TEXT
        monkeypatch.setattr(protocol, "MAX_BYTES", 10_000)
        connection = await _greeted(client)
        await connection.send_bytes(bytes(10_001))
        end = await connection.receive(PATIENCE_SECONDS)
        assert (end.type, end.data) == (WSMsgType.CLOSE, 1009), "its reason is said where it still can be"
        await other.send_bytes(frame(1, jpeg_of(3)))
        assert (await _next(other))[0] == "scene"


async def test_a_defect_met_by_one_client_ends_that_connection_only(analyzer, monkeypatch):
    answer = Session.answer

    def fails(self, sent, dropped):
        assert sent.number != 13, "a defect"
        return answer(self, sent, dropped)

    monkeypatch.setattr(Session, "answer", fails)
    async with client_of(analyzer) as client:
        other, connection = await _greeted(client), await _greeted(client)
        await connection.send_bytes(frame(13, jpeg_of(3)))
        assert (await connection.receive(PATIENCE_SECONDS)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        await other.send_bytes(frame(1, jpeg_of(3)))
        assert (await _next(other))[0] == "scene"


@pytest.fixture
def gate(monkeypatch):
    """Holds the analysis until it is set; `asked` has the sessions in the order of their turns."""
    gate, answer = threading.Event(), Session.answer
    gate.asked = []

    def held(session, sent, dropped):
        gate.asked.append(session)
        assert gate.wait(PATIENCE_SECONDS)
        return answer(session, sent, dropped)

    monkeypatch.setattr(Session, "answer", held)
    return gate


async def test_frames_are_dropped_rather_than_queued(analyzer, gate):
    async with client_of(analyzer, turns=1) as client:
        connection = await _greeted(client)
        for number in range(50):
            await connection.send_bytes(frame(number, jpeg_of(3)))
        # answered at once and in order: all frames have arrived when this is
        await connection.send_str("?")
        assert (await _next(connection))[0] == "refused"
        gate.set()
        scenes = [(await _next(connection))[1] for _ in gate.asked]
        if scenes[-1]["frame"] != 49:
            scenes.append((await _next(connection))[1])
        assert len(scenes) <= 3
        assert scenes[-1]["frame"] == 49
        assert scenes[-1]["dropped"] == 50 - len(scenes)


async def test_twenty_clients_share_the_model_fairly_whatever_one_of_them_does(analyzer):
    """Each asks again when it was answered, but for one, which sends without end."""
    clients, rounds = 20, 5

    async def patient(client, counts, name):
        connection = await _greeted(client)
        while min(counts.values()) < rounds:
            await connection.send_bytes(frame(counts[name], jpeg_of(name % 7)))
            kind, scene = await _next(connection)
            assert (kind, scene["frame"]) == ("scene", counts[name])
            assert [face["label"] for face in scene["faces"]] == [name % 7], "answers are to one's own frames"
            counts[name] += 1

    async def greedy(client, counts):
        connection = await _greeted(client)
        answered = 0

        async def send():
            for number in range(10**6):
                await connection.send_bytes(frame(number, jpeg_of(0)))
                await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        while min(counts.values()) < rounds:
            await _next(connection)
            answered += 1
        sending.cancel()
        return answered

    async with client_of(analyzer, turns=1) as client:
        counts = dict.fromkeys(range(clients - 1), 0)
        *_, answered = await asyncio.gather(*(patient(client, counts, name) for name in counts), greedy(client, counts))
        assert max(counts.values()) <= rounds + 2
        assert answered <= 2 * rounds + 2


async def test_what_is_not_http_is_answered_and_leaves_no_line(analyzer, caplog):
    async with listening(analyzer) as (port, address):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"FOO\x01 / HTTP/1.1\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        async with ClientSession() as session, session.get(f"{address}{'a/' * 3000}") as response:
            assert response.status == 404
        headers = {"Content-Encoding": "gzip", "Content-Type": "image/jpeg"}
        async with (
            ClientSession() as session,
            session.post(f"{address}v1/analyze", data=b"\xff\xd8" * 1000, headers=headers) as response,
        ):
            assert response.status == 400, "it is not in its own encoding"
            assert (await response.json())["error"].startswith("a body that cannot be read")
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]


HEAD = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nContent-Type: "
PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"image/jpeg\r\n\r\n\xff\xd8",
        HEAD + b"multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disp",
        HEAD + b"multipart/form-data; boundary=b\r\n\r\n" + PART + b"\xff\xd8",
    ],
    ids=["body", "head of a part", "part"],
)
async def test_clients_that_leave_during_an_upload_leave_no_line(analyzer, caplog, monkeypatch, sent, reset):
    begun, ended = asyncio.Event(), asyncio.Event()
    read = rest.Rest._files

    async def files(self, request):
        begun.set()
        try:
            async for file in read(self, request):
                yield file
        finally:
            ended.set()

    monkeypatch.setattr(rest.Rest, "_files", files)
    async with listening(analyzer) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await begun.wait()
        writer.transport.abort() if reset else writer.close()
        await ended.wait()
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]


async def test_clients_that_go_away_leave_their_turn(analyzer, gate):
    async with client_of(analyzer, turns=1) as client:
        stays = await _greeted(client)
        for _ in range(5):
            connection = await _greeted(client)
            await connection.send_bytes(frame(1, jpeg_of(3)))
            await connection.send_str("?")
            assert (await _next(connection))[0] == "refused"
            await connection.close()
        gate.set()
        await stays.send_bytes(frame(1, jpeg_of(3)))
        assert (await _next(stays))[0] == "scene"


async def test_the_end_of_the_server_is_said(analyzer):
    async with client_of(analyzer) as client:
        connection = await _greeted(client)
        await client.app.shutdown()
        end = await connection.receive(PATIENCE_SECONDS)
        assert (end.type, end.data, end.extra) == (WSMsgType.CLOSE, 1001, "the server stops")


async def test_a_port_that_is_taken_is_told(analyzer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on port {port} of 127.0.0.1 .*: give another --port"):
            async with server.listening(server.application(analyzer), "127.0.0.1", port):
                pass


@pytest.fixture
def session(classifier):
    return Session(classifier, protocol.Settings("none"))


def _faces(session, label, still=False, size=(48, 64)):
    answer = json.loads(session.answer(protocol.ClientFrame(1, still, jpeg_of(label, size)), 0))
    return [(face["track"], face["label"]) for face in answer["scene"]["faces"]]


def test_a_face_keeps_its_number_and_its_name_is_smoothed_as_the_settings_say(session):
    assert [_faces(session, label) for label in (3, 3, 3, 5)] == [[(1, 3)]] * 4
    session.settings = protocol.Settings("none", "none")
    assert [_faces(session, label) for label in (3, 5)] == [[(1, 3)], [(1, 5)]]
    session.settings = protocol.Settings("haar", "none")
    assert _faces(session, 5) == [], "a plain picture has no face"


def test_a_picture_has_nothing_to_do_with_the_frames_around_it_and_another_size_is_another_scene(session):
    _faces(session, 3)
    assert _faces(session, 5, still=True) == [(1, 5)]
    assert _faces(session, 1) == [(1, 1)]
    assert _faces(session, 5, size=(64, 48)) == [(1, 5)]


def test_activations_are_sent_when_asked_for(session):
    def activation():
        [face] = json.loads(session.answer(protocol.ClientFrame(1, True, jpeg_of(2)), 0))["scene"]["faces"]
        return face["activation"]

    assert activation() is None
    session.settings = protocol.Settings("none", explain=True)
    assert (activation()["rows"], activation()["columns"]) == (8, 8)


def test_detectors_that_can_be_offered(classifier, yunet_model, tmp_path, monkeypatch):
    assert detectors(classifier) == ("haar", "none")
    assert detectors(classifier, str(yunet_model)) == ("yunet", "haar", "none")
    with pytest.raises(UserError, match="No such file"):
        detectors(classifier, str(tmp_path / "yunet.onnx"))
    crop = cropping.CROP | {"detectors": {"yunet": cropping.CROP["detectors"]["yunet"]}}
    with pytest.raises(UserError, match="no crop policy for the detector haar"):
        detectors(Classifier(serving.write_bundle(tmp_path / "bundle", crop=crop)))
    monkeypatch.delattr("cv2.CascadeClassifier")  # as in OpenCV 5
    assert detectors(classifier, str(yunet_model)) == ("yunet", "none")
    with pytest.raises(UserError, match="has no Haar cascades any more"):
        detectors(classifier)
