"""The HTTP interface: what it answers, to whom, and its limits."""

import asyncio
import json

import jsonschema
import pytest
from aiohttp import FormData

import fer_jax
from fer_jax.faces import registry
from fer_jax.serve import sources
from fer_jax.serve.analysis import FrameAnalyzer
from fer_jax.serve.outputs import Events
from fer_jax.serve.player import Player
from fer_jax.web import protocol, rest
from fer_jax.web.access import Limits
from fer_jax.web.server import Session
from tests import serving
from tests.unit.web.conftest import client_of, jpeg_of

TOKEN = "a-token-of-some-length"


async def _post(analyzer, body, query="", headers=None, **kwargs):
    """Status and JSON of one request."""
    async with client_of(analyzer, **kwargs) as client:
        answer = await client.post(f"/v1/analyze{query}", data=body, headers=headers)
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


def _form(**files):
    form = FormData(quote_fields=False)
    for name, data in files.items():
        form.add_field("file", data, filename=name)
    return form


@pytest.fixture
def clip(tmp_path):
    """One second in which a face changes from happy to sad, 10 frames/s."""
    grays = [serving.brightness_of(3)] * 5 + [serving.brightness_of(4)] * 5
    return serving.write_clip(tmp_path / "clip.mp4", grays, rate=10.0).read_bytes()


async def test_a_picture_and_a_video_are_answered_as_analyze_answers_them(analyzer, clip):
    for data in (jpeg_of(5), clip):
        status, answer = await _post(analyzer, data)
        expected = analyzer(data)
        assert (status, answer["model"], len(answer["results"])) == (200, "brightness", 1)
        (result,) = answer["results"]
        assert result["faces"] == json.loads(expected.to_json())
        assert result["summary"] == json.loads(expected.summary().to_json())
        assert (result["name"], result["error"], result["plot"]) == ("<memory>", None, None)


async def test_a_picture_shows_the_same_faces_everywhere(real_data, tmp_path):
    """To the call, the HTTP interface, the page's socket and the camera's events: order, boxes, six digits, names."""
    path, yunet = real_data / "video" / "group.jpg", str(real_data / "models" / "face_detection_yunet_2023mar.onnx")
    analyzer = fer_jax.Analyzer(detector_model=yunet)
    expected = analyzer(path).to_dicts()
    assert len(expected) == 6
    assert [face["box"][0] for face in expected] == sorted(face["box"][0] for face in expected)

    events = Events(str(tmp_path / "events.jsonl"), analyzer.labels)
    camera = FrameAnalyzer(analyzer.classifier, registry.Detectors("yunet", yunet), tta="auto")
    Player(sources.open_source(path), camera, events=events).play()
    session = Session(analyzer.classifier, protocol.Settings("yunet"), yunet)
    shown = json.loads(session.answer(protocol.ClientFrame(1, True, path.read_bytes()), 0))["scene"]["faces"]
    for face in shown:
        face["label"] = analyzer.labels[face["label"]]
        face["probabilities"] = dict(zip(analyzer.labels, face["probabilities"], strict=True))
    for faces in (
        (await _post(analyzer, path.read_bytes()))[1]["results"][0]["faces"],
        json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8"))["faces"],
        shown,
    ):
        assert [(face["label"], face["box"]) for face in faces] == [(face["label"], face["box"]) for face in expected]
        for face, other in zip(faces, expected, strict=True):
            assert face["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


async def test_several_files_are_answered_in_order_with_an_error_for_what_cannot_be_read(analyzer, clip):
    status, answer = await _post(analyzer, _form(**{"a.jpg": jpeg_of(5), "b\u202e.txt": b"no picture", "c.mp4": clip}))
    assert status == 200
    first, second, third = answer["results"]
    assert [(face["label"], face["source"]) for face in first["faces"]] == [(analyzer.labels[5], "a.jpg")]
    assert second["name"] == "b\\u202e.txt"
    assert second["error"].startswith("b\\u202e.txt: ")
    assert second["faces"] == []
    assert len(third["faces"]) == 10


async def test_the_query_says_which_frames_and_asks_for_a_plot(analyzer, clip):
    status, answer = await _post(analyzer, clip, "?fps=5&start=0.2&plot=true")
    assert (status, answer["results"][0]["summary"]["frames"]) == (200, 4)
    assert answer["results"][0]["plot"].startswith("<svg")
    assert [row[:2] for row in answer["results"][0]["table"]] == [["face", "seen"], ["1", "0.8 s"]]


@pytest.mark.parametrize(
    ("query", "body", "status", "error"),
    [
        ("?frames=3", b"x", 400, "unknown parameter frames: expected every, fps, start, end, plot"),
        ("?fps=fast", b"x", 400, "fps=fast: expected number"),
        ("?every=0", b"x", 400, "every is 0"),
        ("", b"no picture", 422, "<memory>: "),
        ("", b"", 422, "no file was sent"),
        ("", b"x" * 2000, 413, "a file above 0 MiB"),
    ],
)
async def test_what_is_refused_is_a_line_of_json(analyzer, query, body, status, error):
    found, answer = await _post(analyzer, body, query, limits=Limits(body_bytes=1000))
    assert (found, list(answer)) == (status, ["error"])
    assert answer["error"].startswith(error)
    assert "\n" not in answer["error"]


async def test_a_broken_form_and_too_many_files_are_refused(analyzer, monkeypatch):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await _post(analyzer, b"no boundary", headers=headers))[0] == 400
    assert (await _post(analyzer, b"", headers={"Content-Type": "multipart/form-data"}))[0] == 400
    monkeypatch.setattr(rest, "MAX_FILES", 2)
    status, answer = await _post(analyzer, _form(**{f"{i}.jpg": jpeg_of(i) for i in range(3)}))
    assert (status, answer["error"]) == (413, "more than 2 files: send them in turns")


async def test_a_video_of_too_many_frames_is_refused_and_its_sample_is_not(analyzer, clip, monkeypatch):
    monkeypatch.setattr(rest, "MAX_FRAMES", 5)
    monkeypatch.setattr(rest, "TURN_SECONDS", 0.0)  # a turn a frame
    error = "<memory>: more than 5 frames: give fps, every, start or end"
    assert await _post(analyzer, clip) == (422, {"error": error})
    assert (await _post(analyzer, clip, "?fps=5"))[0] == 200


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=none"])
async def test_a_file_that_does_not_arrive_is_given_up(analyzer, kind):
    async def slow():
        while True:
            yield b".\n"  # lines, which may also stand before the first part
            await asyncio.sleep(0.02)  # a client that sends two bytes at a time

    status, answer = await _post(analyzer, slow(), limits=Limits(message_seconds=0.1), headers={"Content-Type": kind})
    assert (status, answer["error"][:27]) == (408, "the file does not arrive: s")


async def test_twenty_clients_at_once_are_all_answered(analyzer, clip):
    async with client_of(analyzer, turns=2) as client:

        async def ask(i):
            answer = await client.post("/v1/analyze", data=clip if i % 5 == 0 else jpeg_of(i % 7))
            return answer.status, (await answer.json())["results"][0]["faces"][0]["label"]

        found = await asyncio.gather(*(ask(i) for i in range(20)))
        labels = analyzer.labels
        assert found == [(200, "happy" if i % 5 == 0 else labels[i % 7]) for i in range(20)]


async def test_a_token_is_wanted_where_there_is_one(analyzer):
    async with client_of(analyzer, token=TOKEN) as client:
        right = {"Authorization": f"Bearer {TOKEN}"}
        for headers in ({}, {"Authorization": TOKEN[:-1]}, {"Authorization": "Bearer ä\udcff"}):
            answer = await client.post("/v1/analyze", data=jpeg_of(1), headers=headers)
            assert answer.status == 401
            assert (await answer.json())["error"].startswith("expected the header Authorization: Bearer TOKEN")
        assert (await client.post("/v1/analyze", data=jpeg_of(1), headers=right)).status == 200
        assert (await client.get("/v1/models")).status == 401
        assert (await client.get("/healthz")).status == 200
        origin = {"Origin": f"http://{client.host}:{client.port}"}
        assert (await client.get("/socket", headers=origin)).status == 401
        async with client.ws_connect("/socket", headers=origin, protocols=[TOKEN]) as socket:
            assert (await socket.receive_json()).keys() == {"hello"}


async def test_other_pages_are_refused(analyzer):
    status, answer = await _post(analyzer, jpeg_of(1), headers={"Origin": "https://elsewhere.example"})
    assert status == 403
    assert answer["error"].startswith("origin https://elsewhere.example: only this server's own page may connect")


async def test_another_method(analyzer):
    async with client_of(analyzer) as client:
        for path in ("/healthz", "/v1/models", "/openapi.json", "/"):
            assert (await client.head(path)).status == 200, path
        answer = await client.get("/v1/analyze")
        assert answer.status == 405
        assert await answer.json() == {"error": "405: Method Not Allowed"}
        assert await (await client.get("/v1/nothing")).json() == {"error": "404: Not Found"}


async def test_the_description_describes_every_answer(analyzer, clip):
    async with client_of(analyzer) as client:
        described = await (await client.get("/openapi.json")).json()
        assert described["openapi"] == "3.1.0"
        assert described["paths"].keys() == {"/v1/analyze", "/v1/models", "/healthz", "/openapi.json"}
        operation = described["paths"]["/v1/analyze"]["post"]
        assert [known["name"] for known in operation["parameters"]] == ["every", "fps", "start", "end", "plot"]
        assert all(parameter["description"] for parameter in operation["parameters"])
        face = described["components"]["schemas"]["Face"]
        assert all(entry["description"] for entry in face["properties"].values())
        answers = {
            ("/v1/analyze", "post"): await client.post("/v1/analyze?plot=true", data=_form(a=jpeg_of(1), b=clip)),
            ("/v1/models", "get"): await client.get("/v1/models"),
            ("/healthz", "get"): await client.get("/healthz"),
        }
        for (path, method), answer in answers.items():
            schema = described["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(await answer.json(), schema | {"components": described["components"]})
        models = (await answers["/v1/models", "get"].json())["models"]
        assert [(model["name"], model["detector"]) for model in models] == [("brightness", "none")]
