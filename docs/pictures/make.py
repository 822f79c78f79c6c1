"""Makes the pictures of README.md and docs anew, with synthetic faces only:

    python -m docs.pictures.make --workdir=runs/quickstart --bundle=quickstart.bundle

--workdir is a run of the recipe quickstart and --bundle its bundle. Needs Chromium, its driver and selenium.
"""

from __future__ import annotations

import base64
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import cv2
import numpy as np
from absl import app, flags
from selenium import webdriver

import fer_jax
from fer_jax.preprocess import images
from tests import serving

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Folder of a bundle.", required=True)

HERE = pathlib.Path(__file__).parent
EXPRESSIONS = ("happy", "surprise", "angry")
ACTS = (  # of the video, each for 30 frames
    ("happy", "surprise", "angry"),
    ("happy", "neutral", "angry"),
    ("surprise", "happy", "sad"),
    ("neutral", "happy", "surprise"),
)
SEED = 13  # of people who look different
SECONDS = 12  # of history in the picture of the page


def main(argv: list[str]) -> None:
    """Write batch.webp, report.webp, webcam.webp, web.webp, web_phone.webp and video.svg beside this file."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        program = [sys.executable, "-m", "fer_jax"]
        subprocess.run([*program, "train", "--config=quickstart", "--dry-run", f"--workdir={folder}/run"], check=True)
        _save("batch", images.read(folder / "run" / "first_batch.png")[..., ::-1])
        people = serving.drawn_people(EXPRESSIONS, 180, seed=SEED)
        with _browser() as browser:
            browser.get(f"file://{pathlib.Path(_WORKDIR.value).absolute()}/report/index.html")
            _save("report", _screenshot(browser, 1100, 1100))
        images.write(folder / "people.png", people[0])
        subprocess.run(
            [
                *program,
                "webcam",
                f"--bundle={_BUNDLE.value}",
                "--headless",
                "--explain",
                f"--source={folder}/people.png",
                f"--record={folder}/webcam.png",
            ],
            check=True,
        )
        _save("webcam", images.read(folder / "webcam.png")[..., ::-1])
        acts = [serving.drawn_people(names, 30, seed=SEED) for names in ACTS]
        talk = serving.write_motion_jpeg(folder / "talk.mjpeg", [frame for act in acts for frame in act])
        fer_jax.Analyzer(_BUNDLE.value)(talk).plot(HERE / "video.svg", thumbnails=True)
        camera = serving.write_motion_jpeg(folder / "people.mjpeg", people)
        with _server() as address, _browser(camera) as browser:
            browser.get(address)
            browser.find_element("id", "camera").click()
            browser.find_element("id", "explain").click()
            time.sleep(SECONDS)
            _save("web", _screenshot(browser, 1100, 1090))
            browser.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            )
            _save("web_phone", _screenshot(browser, 390, 1040))


@contextlib.contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "fer_jax", "web", f"--bundle={_BUNDLE.value}", "--port=0"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, encoding="utf-8") as tool:
        yield tool.stdout.readline().partition(" ")[0]
        tool.terminate()


@contextlib.contextmanager
def _browser(camera: pathlib.Path | None = None) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(flag)
    if camera:
        for flag in (
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ):
            options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        # a named driver, or selenium would look for one in the net
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield browser
        finally:
            browser.quit()


def _screenshot(browser: webdriver.Chrome, width: int, height: int) -> np.ndarray:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.execute_script("scrollTo(0, 0)")
    time.sleep(1)  # until it is drawn anew
    data = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _save(name: str, image: np.ndarray) -> None:
    path = HERE / f"{name}.webp"
    images.write(path, image, [cv2.IMWRITE_WEBP_QUALITY, 80])
    print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    app.run(main)
