"""Fixtures of the reports' tests."""

import pytest

from tests.reports import made_examples, made_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    workdir.mkdir()
    made_run(workdir, made_examples())
    return workdir
