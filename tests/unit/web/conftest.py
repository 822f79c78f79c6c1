"""Classifiers that tell faces by their brightness, frames as a page sends them, and tests that are coroutines."""

import asyncio
import contextlib
import inspect
import struct
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

import fer_jax
from fer_jax.serve import Classifier
from fer_jax.web import server
from fer_jax.web.access import Limits
from tests import serving

PATIENCE_SECONDS = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test that is a coroutine to its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**given), PATIENCE_SECONDS))
    return True


@pytest.fixture(scope="session")
def analyzer(classifier):
    return fer_jax.Analyzer(classifier.bundle.path, "none")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    return Classifier(serving.write_bundle(tmp_path_factory.mktemp("bundles") / "maps", maps=True, uncertain_below=0.4))


@pytest.fixture(scope="session")
def classifier_without_maps(tmp_path_factory):
    return Classifier(serving.write_bundle(tmp_path_factory.mktemp("bundles") / "plain"))


def jpeg_of(label, size=(48, 64)):
    """A plain picture that is taken for `label`."""
    return cv2.imencode(".jpg", np.full((*size, 3), serving.brightness_of(label), np.uint8))[1].tobytes()


@contextlib.asynccontextmanager
async def client_of(analyzer, **kwargs):
    """A client of a server for this analyzer."""
    async with TestClient(TestServer(server.application(analyzer, **kwargs), host="127.0.0.1")) as client:
        yield client


@contextlib.asynccontextmanager
async def listening(analyzer, **limits):
    """A server with these limits: its port and its address."""
    app = server.application(analyzer, limits=Limits(**limits))
    async with server.listening(app, "127.0.0.1", 0) as address:
        yield urlsplit(address).port, address


def frame(number, jpeg, still=False):
    return struct.pack(">BI", still, number) + jpeg
