"""The official client for JavaScript."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent / "node"
SECONDS = 120


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("node")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run(install, cwd=folder, check=True, timeout=SECONDS)
    return folder


def test_objects_are_made_watched_applied_listed_and_deleted(package, kubeconfig):
    done = subprocess.run(
        ["node", "client.mjs"],
        cwd=package,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {}
    for line in done.stdout.splitlines():
        said.update(json.loads(line))
    assert said == {
        "created": {"x": "1"},
        "watched": {"x": "2"},
        "applied": {"x": "2", "y": "3"},
        "listed": True,
        "gone": 404,
    }
