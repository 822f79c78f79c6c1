"""The page with a camera in a real browser, whose camera shows synthetic faces."""

import asyncio
import base64
import http.server
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import types

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, WSMsgType

from fer_jax import zoo
from fer_jax.faces import registry
from fer_jax.labels import FER2013
from fer_jax.serve import Classifier
from fer_jax.serve.analysis import FrameAnalyzer
from fer_jax.serve.frames import Frame
from fer_jax.serve.tracker import overlap
from tests import serving
from tests.conftest import run_python
from tests.integration.conftest import REPOSITORY, free_port

PATIENCE_SECONDS = 120
EXPRESSIONS = ("happy", "surprise", "angry")
CHROMIUM_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
CHROMIUM_FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
PUBLIC_NAME = "faces.example"
PROXY_FLAGS = (f"--host-resolver-rules=MAP {PUBLIC_NAME} 127.0.0.1", "--ignore-certificate-errors")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "maps", maps=True)


@pytest.fixture(scope="module")
def start(bundle):
    """`start(*flags)` starts the tool and gives its process, with the page's address as `address`."""
    started = []

    def start(*flags, port=0, model=bundle, program=("-m", "tools.web")):
        tool = subprocess.Popen(
            [sys.executable, *program, f"--bundle={model}", f"--port={port}", *flags],
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(tool)
        tool.address = tool.stdout.readline().partition(" ")[0]
        assert tool.address, tool.stderr.read()
        return tool

    yield start
    for tool in started:
        tool.kill()
        tool.communicate()


@pytest.fixture(scope="module")
def server(start):
    return start().address


@pytest.fixture
def browse(tmp_path):
    """`browse(address, camera)` opens a page in Chromium.

    `camera` is a file of JPEG pictures that it films, `cameras` a number of cameras that show a test pattern.
    """
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromium-driver are not installed")
    opened = []

    def browse(address, camera=None, cameras=0, flags=()):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*CHROMIUM_FLAGS, *flags, f"--user-data-dir={tmp_path / f'chromium{len(opened)}'}"):
            options.add_argument(flag)
        if camera:
            options.add_argument("--use-fake-device-for-media-stream")
            options.add_argument(f"--use-file-for-fake-video-capture={camera}")
        if cameras:
            options.add_argument(f"--use-fake-device-for-media-stream=device-count={cameras}")
        page = Page(webdriver.Chrome(options, webdriver.ChromeService(driver)))
        opened.append(page.driver)
        page.permit("granted")
        page.driver.get(address)
        return page

    yield browse
    for page in opened:
        page.quit()


class Page:
    """The page as its user sees it."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        return self.find(selector).text

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (result := condition()):
            assert time.monotonic() < deadline, f"{what}: {self.find('body').text}\n{self.driver.get_log('browser')}"
            time.sleep(0.02)  # between two looks; what is waited for is the condition
        return result

    def until_says(self, words):
        self.until(lambda: words in self.text("#message"), words)

    def permit(self, setting):
        """What the browser's user says to a page that asks for the camera."""
        self.driver.execute_cdp_cmd("Browser.setPermission", {"permission": {"name": "camera"}, "setting": setting})

    def until_ready(self):
        self.until(lambda: self.text("#model") != "…", "the program answers")

    def start_camera(self):
        self.until_ready()
        self.find("#camera").click()

    def number(self, name):
        """Of the canvas: how many "faces" are drawn now, how many "frames" were so far; 0 before the first frame."""
        return int(self.find("#canvas").get_attribute(f"data-{name}") or 0)

    def until_faces(self, count, cards=None):
        """Wait until so many faces are drawn, and so many have a card beside the picture."""

        def shown():
            return self.number("faces") == count and cards in (None, len(self.all(".face")))

        self.until(shown, f"{count} faces")

    def until_new_frames(self):
        before = self.number("frames")
        self.until(lambda: self.number("frames") > before + 3, "new frames")

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def tinted(self):
        """Pixels of the picture that are as red as evidence for a name."""
        return self.run("""
            const canvas = document.getElementById("canvas");
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 0; i < pixels.length; i += 4) {
              count += pixels[i] > 120 && pixels[i + 1] < 90 && pixels[i + 2] < 90;
            }
            return count;""")


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """Three drawn people, who sway for two seconds, again and again."""
    path = tmp_path_factory.mktemp("camera") / "drawn.mjpeg"
    return serving.write_motion_jpeg(path, serving.drawn_people(EXPRESSIONS, 60))


def test_the_camera_s_faces_appear_with_names_bars_and_history(browse, server, camera):
    page = browse(server, camera)
    page.start_camera()
    page.until_faces(3, cards=3)
    assert [title.text.split()[0].rstrip("?") in FER2013 for title in page.all(".face .name")] == [True] * 3
    for card in page.all(".face"):
        shares = page.run("return [...arguments[0].querySelectorAll('.share')].map((e) => parseInt(e.innerText))", card)
        assert len(shares) == 7
        assert 97 <= sum(shares) <= 103
        assert card.find_element("css selector", ".history").get_attribute("aria-label").startswith("Last 20 seconds: ")
    page.until(lambda: page.text("#summary").startswith("3 faces: "), "the summary")
    page.until(lambda: "frames/s" in page.text("#rate"), "the rate")
    page.until(lambda: page.find("#canvas").get_attribute("aria-label").startswith("3 faces: "), "its description")

    plain = page.tinted()
    page.find("#explain").click()
    page.until(lambda: page.tinted() > plain + 1000, "the activation map")
    page.find("[name=view][value=single]").click()
    page.until_faces(1, cards=1)
    page.run("""const slider = document.getElementById("threshold");
                slider.value = 100; slider.dispatchEvent(new Event("input", {bubbles: true}));""")
    page.until(lambda: page.text("#percent") == "100%", "the threshold")
    page.find("[name=detector] [value=none]").click()
    page.until(lambda: page.find("#canvas").get_attribute("aria-label").startswith("1 face: "), "one whole picture")
    page.find("#camera").click()
    page.until_says("The camera is off.")
    assert page.text("#camera") == "Start the camera"
    assert page.errors() == []


def test_pictures_chosen_and_dropped(browse, server, camera, tmp_path):
    pictures = [tmp_path / "two.png", tmp_path / "four.png"]
    for path, people in zip(pictures, (("sad", "happy"), ("sad", "happy", "fear", "neutral")), strict=True):
        cv2.imwrite(str(path), serving.drawn_people(people, size=(1500, 600))[0])
    (tmp_path / "no.png").write_text("no picture", encoding="utf-8")
    page = browse(server, camera)
    page.start_camera()
    page.until_faces(3)
    page.find("#file").send_keys(str(pictures[0]))
    page.until_faces(2, cards=2)
    assert page.text("#camera") == "Back to the camera"
    assert page.text("#message") == ""
    assert [plot.is_displayed() for plot in page.all(".history")] == [False, False]
    page.find("#file").send_keys(str(tmp_path / "no.png"))
    page.until_says("no.png is not a picture that this browser can read.")
    page.run(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt());
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], "four.png", {type: "image/png"}));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
        """,
        base64.b64encode(pictures[1].read_bytes()).decode(),
    )
    page.until_faces(4)
    page.find("#camera").click()
    page.until_faces(3, cards=3)
    assert [plot.is_displayed() for plot in page.all(".history")] == [True] * 3


def test_a_video_is_summed_up(browse, server, tmp_path):
    clip = serving.write_clip(tmp_path / "clip.mp4", [255] * 20, rate=10.0)
    picture = tmp_path / "two.png"
    cv2.imwrite(str(picture), serving.drawn_people(("sad", "happy"), size=(1500, 600))[0])
    page = browse(server)
    page.until_ready()
    page.find("#file").send_keys(str(picture))
    page.until(lambda: len(page.all(".face")) == 2, "the picture's faces")
    page.find("#file").send_keys(str(clip))
    page.until(lambda: page.all("#video table"), "the table")
    assert page.all(".face") == [], "the picture and its faces made room"
    assert page.find("#hint").is_displayed()
    assert page.text("#video th:first-child") == "face"
    assert page.text("#message") == ""
    page.until(lambda: page.run("return document.querySelector('#video img').naturalWidth") > 0, "the band")
    (tmp_path / "no.mp4").write_text("no video", encoding="utf-8")
    page.find("#file").send_keys(str(tmp_path / "no.mp4"))
    page.until_says("no.mp4: ")
    page.find("#file").send_keys(str(picture))
    page.until(lambda: len(page.all(".face")) == 2, "the picture's faces")
    assert page.all("#video *") == []


def test_one_of_several_cameras_is_chosen(browse, server):
    page = browse(server, cameras=2)
    assert not page.find("#device").is_displayed(), "before a camera was allowed nothing is known of them"
    page.start_camera()
    page.until(lambda: page.find("#device").is_displayed(), "the choice")
    first, second = page.run("return [...document.querySelectorAll('#device option')].map((option) => option.value)")
    chosen = page.run("return document.getElementById('device').value")
    other = second if chosen == first else first
    page.find(f"#device option[value='{other}']").click()
    page.until_new_frames()
    assert page.run("return document.getElementById('device').value") == other
    assert page.text("#message") == ""


def test_a_camera_behind_a_proxy_with_a_public_name(browse, start, camera, tmp_path):
    """TLS ends at nginx, as docs/how-to/deploy.md says; the browser knows the proxy's name alone."""
    nginx, openssl = shutil.which("nginx") or shutil.which("/usr/sbin/nginx"), shutil.which("openssl")
    if not (nginx and openssl):
        pytest.skip("nginx and openssl are not installed (Debian's nginx-light)")
    certificate = ["-x509", "-nodes", "-newkey", "rsa:2048", "-subj", f"/CN={PUBLIC_NAME}", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([openssl, "req", *certificate, *files], check=True, capture_output=True)
    port, listen = free_port(), free_port()
    page = (REPOSITORY / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    documented = page.split("```nginx\n")[1].split("```")[0]
    for written, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{listen} ssl",
        "/etc/ssl/faces.example": str(tmp_path),
        "127.0.0.1:8765": f"127.0.0.1:{port}",
    }.items():
        assert written in documented
        documented = documented.replace(written, here)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {tmp_path / name};\n" for name in names)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}{documented}}}\n",
        encoding="utf-8",
    )
    start(f"--public-origin=https://{PUBLIC_NAME}:{listen}", port=port)
    proxy = subprocess.Popen([nginx, "-e", f"{tmp_path}/error.log", "-c", str(tmp_path / "nginx.conf")])
    try:
        page = browse(f"https://{PUBLIC_NAME}:{listen}/", camera, flags=PROXY_FLAGS)
        page.start_camera()
        page.until_faces(3)
        assert page.text("#message") == ""
    finally:
        proxy.terminate()
        proxy.wait()


def test_the_keyboard_reaches_everything_and_the_reason_for_a_missing_camera_is_shown(browse, server, camera):
    from selenium.webdriver import ActionChains, Keys

    page = browse(server)
    page.until_ready()
    reached = []
    for _ in range(7):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        element = page.driver.switch_to.active_element
        reached.append(element.get_attribute("id") or element.get_attribute("name"))
        assert element.accessible_name.strip(), reached
    assert reached == ["camera", "choose", "view", "detector", "smoothing", "threshold", "explain"]
    page.find("#camera").send_keys(Keys.ENTER)
    page.until_says("There is no camera. Connect one and start it again, or choose a picture.")
    page = browse(server, camera)
    page.permit("denied")
    page.start_camera()
    page.until_says("The camera is not allowed. Allow it for this page")
    page.permit("granted")
    page.find("#camera").click()
    page.until_faces(3)
    assert page.text("#message") == ""


def test_a_program_that_ends_and_comes_back(browse, start, camera):
    port = free_port()
    tool = start(port=port)
    page = browse(tool.address, camera)
    page.start_camera()
    page.until_faces(3)
    tool.send_signal(signal.SIGINT)
    page.until_says("The program does not answer. Is it still running?")
    assert tool.wait(PATIENCE_SECONDS) == 0
    assert tool.stderr.read() == ""
    start(port=port)
    page.until_new_frames()
    assert page.text("#message") == ""


def test_a_model_without_a_map_says_so(browse, start, tmp_path):
    page = browse(start(model=serving.write_bundle(tmp_path / "plain")).address)
    page.until(lambda: page.text("#no-maps") == "This model has no activation map to tint with.", "the note")
    assert not page.find("#explain").is_enabled()


def test_other_addresses_are_served_with_a_warning(start):
    tool = start("--host=0.0.0.0")
    assert tool.address.startswith("http://127.0.0.1:"), "where a browser gives the page a camera"
    tool.send_signal(signal.SIGTERM)
    assert tool.wait(PATIENCE_SECONDS) == 0
    assert tool.stderr.read().startswith("warning: --host=0.0.0.0: others who reach this machine can open the page too")


BUSY = """
import sys, threading
import fer_jax.cli, fer_jax.web.server as server
server.Session.answer = lambda self, sent, dropped: threading.Event().wait()
sys.argv = ["fer-jax", "web", *sys.argv[1:]]
fer_jax.cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_program_in_the_middle_of_a_picture(start, number):
    tool = start(program=("-c", BUSY))

    async def ask():
        async with (
            ClientSession() as session,
            session.ws_connect(f"{tool.address}socket", origin=tool.address.rstrip("/")) as connection,
        ):
            await connection.receive()
            await connection.send_bytes(struct.pack(">BI", 1, 1) + b"picture")
            await connection.send_str("?")
            assert (await connection.receive()).data.startswith('{"refused"'), "the picture has arrived"
            tool.send_signal(number)
            assert (await connection.receive()).type == WSMsgType.CLOSE

    asyncio.run(ask())
    assert tool.wait(10) == 0


# ---- the page without a server

OPEN_ENGINE = """
const done = arguments[arguments.length - 1];
import("./engine.js").then(({ Engine }) => Engine.load()).then((loaded) => { window.engine = loaded; done(""); },
                                                                (error) => done(String(error.stack)));
"""
NEXT_FRAME = """
const [png, i, done] = arguments, picture = new Image(), canvas = document.createElement("canvas");
picture.src = `data:image/png;base64,${png}`;
picture.decode().then(() => {
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const image = { width: canvas.width, height: canvas.height, channels: 4,
                  data: context.getImageData(0, 0, canvas.width, canvas.height).data };
  return engine.scene(image, i / 25, false, { detector: "yunet", smoothing: "average", explain: true });
}).then(done);
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, real_data):
    """The address of a folder that `--static` wrote, on a web server that knows nothing of it, and its requests."""
    folder = tmp_path_factory.mktemp("static") / "site"
    yunet = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    made = run_python("-m", "fer_jax", "web", f"--static={folder}", f"--detector-model={yunet}", cwd=REPOSITORY)
    if "onnxruntime-web is not fetched" in made.stderr:
        pytest.skip("no onnxruntime-web: npm install it in the repository's folder")
    assert made.returncode == 0, made.stderr
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, format, *args):
            asked.append(self.path)

    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
    yield types.SimpleNamespace(host=host, asked=asked, address=f"http://127.0.0.1:{host.server_port}/", yunet=yunet)
    host.shutdown()
    host.server_close()


@pytest.fixture(scope="module")
def group(real_data, tmp_path_factory):
    """A camera that films the group."""
    frames = serving.frames_of(real_data / "video" / "group_pan.mp4")[:150]
    return serving.write_motion_jpeg(tmp_path_factory.mktemp("group") / "group.mjpeg", frames)


def test_a_static_page_names_faces_as_the_program_does(browse, site):
    """On the same pixels, frame by frame: a slow machine would drop those of a camera."""
    page = browse(site.address)
    page.driver.set_script_timeout(PATIENCE_SECONDS)
    assert page.driver.execute_async_script(OPEN_ENGINE) == ""
    analyzer = FrameAnalyzer(Classifier(zoo.DEFAULT), registry.Detectors("yunet", str(site.yunet)))
    overlaps, differing, count = [], 0, 0
    for i, image in enumerate(serving.frames_of(site.yunet.parents[1] / "video" / "group_pan.mp4")[:100]):
        png = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
        scene = page.driver.execute_async_script(NEXT_FRAME, png, i)
        theirs = [face for face in scene["faces"] if face["found"]]
        for face in analyzer.read(analyzer.search(Frame(image, i, i / 25, 0.0, "", i == 0))).faces:
            if face.found:
                common = overlap(face.box[None], np.array([one["box"] for one in theirs]).reshape(-1, 4))[0]
                count += 1
                overlaps.append(common.max(initial=0.0))
                differing += not common.size or face.label != theirs[int(common.argmax())]["label"]
    assert count > 200
    assert min(overlaps) > 0.8
    assert differing == 0


def test_a_static_page_works_alone_and_without_a_network(browse, site, group, tmp_path):
    page = browse(site.address, group, flags=("--enable-logging",))
    page.start_camera()
    page.until(lambda: page.number("faces") >= 2 and "frames/s" in page.text("#rate"), "faces")
    assert "not sent anywhere" in page.text("#promise")
    page.find("#explain").click()
    page.until(lambda: page.tinted() > 100, "the activation map")
    loaded = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(site.address) for name in loaded), loaded
    page.until(lambda: page.run("return Boolean(navigator.serviceWorker.controller)"), "the service worker")
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    site.asked.clear()
    page.driver.refresh()
    page.start_camera()
    page.until(lambda: page.number("faces") >= 2, "faces without a network")
    picture = tmp_path / "group.png"
    cv2.imwrite(str(picture), serving.frames_of(site.yunet.parents[1] / "video" / "group_pan.mp4")[0])
    page.find("#file").send_keys(str(picture))
    page.until(lambda: page.number("faces") >= 2 and page.text("#message") == "", "the picture's faces")
    assert set(site.asked) <= {"/offline.js"}, "the browser looks whether the service worker is another one"
    assert page.errors() == []
