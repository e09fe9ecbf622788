"""Commands of kubectl that reach into pods. They are processes of this machine here."""

import os
import socket
import subprocess
import time
import urllib.request

import pytest

RUNTIME = "process"
SECONDS = 30

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pods that are processes need root")


def pod(name, script):
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: main, image: none, command: [sh, -c, '{script}']}}
"""


@pytest.fixture
def echo(spaced):
    """A pod that says what it reads, and goes on."""
    script = "echo one; echo two; while read line; do echo got $line; done; sleep 600"
    manifest = pod("echo", script).replace("name: main,", "name: main, stdin: true,")
    spaced("apply", "-f", "-", input=manifest)
    spaced("wait", "pod/echo", "--for=condition=Ready", f"--timeout={SECONDS}s")
    return spaced


def test_logs(echo):
    assert echo("logs", "echo") == "one\ntwo\n"
    assert echo("logs", "echo", "--tail=1") == "two\n"
    assert echo("logs", "echo", "--timestamps").splitlines()[0].endswith("Z one")


def test_logs_follow(spaced):
    spaced("apply", "-f", "-", input=pod("counts", "for n in 1 2 3; do echo $n; sleep 0.2; done"))
    spaced("wait", "pod/counts", "--for=jsonpath={.status.containerStatuses}", f"--timeout={SECONDS}s")
    with spaced.start("logs", "-f", "counts") as follow:
        assert follow.communicate(timeout=SECONDS)[0] == "1\n2\n3\n"


def test_exec(echo):
    assert echo("exec", "echo", "--", "sh", "-c", "echo $((6 * 7)); exit 0") == "42\n"
    assert echo("exec", "-i", "echo", "--", "cat", input="through\n") == "through\n"
    said = echo("exec", "echo", "--", "sh", "-c", "echo no >&2; exit 3", code=3)
    assert said == "no\ncommand terminated with exit code 3\n"


def test_attach(echo):
    with echo.start("attach", "-i", "echo", stdin=subprocess.PIPE) as attached:
        attached.stdin.write("hello\n")
        attached.stdin.flush()
        assert "got hello\n" in iter(attached.stdout.readline, "")
        attached.kill()


def test_cp(echo, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    (tmp_path / "file").write_text("text\n")
    there.mkdir()
    echo("cp", str(tmp_path / "file"), f"{echo.namespace}/echo:{there}/copy")
    assert (there / "copy").read_text() == "text\n"
    echo("cp", f"{echo.namespace}/echo:{there}/copy", str(here))
    assert here.read_text() == "text\n"


def test_port_forward(spaced, tmp_path):
    (tmp_path / "index.html").write_text("hello\n")
    serve = f"exec python3 -m http.server 8080 --directory {tmp_path}"
    manifest = pod("web", serve).replace(
        "image: none,", "image: none, readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1},"
    )
    spaced("apply", "-f", "-", input=manifest)
    spaced("wait", "pod/web", "--for=condition=Ready", f"--timeout={SECONDS}s")
    with spaced.start("port-forward", "pod/web", ":8080") as forward:
        said = forward.stdout.readline()
        port = said.split("127.0.0.1:")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS) as answer:
            assert answer.read() == b"hello\n"
        forward.terminate()


def test_debug(echo):
    said = echo("debug", "echo", "--image=none", "--container=look", "--", "sh", "-c", "echo looked; sleep 600")
    assert "Targeting container" not in said
    echo("wait", "pod/echo", "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}", f"--timeout={SECONDS}s")
    assert echo("logs", "echo", "-c", "look") == "looked\n"


def test_host_port(spaced):
    """A port of the machine leads into a pod, which has a network of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manifest = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: none
    command: [python3, -m, http.server, "8000", --directory, /etc]
    ports: [{{containerPort: 8000, hostPort: {port}}}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
"""
    spaced("apply", "-f", "-", input=manifest)
    spaced("wait", "pod/web", "--for=condition=Ready", f"--timeout={SECONDS}s")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=SECONDS) as page:
        assert page.status == 200
    spaced("delete", "pod/web")
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=1)


def test_top(spaced, kubectl):
    spaced("apply", "-f", "-", input=pod("busy", "while true; do :; done"))
    spaced("wait", "pod/busy", "--for=condition=Ready", f"--timeout={SECONDS}s")
    time.sleep(1)
    rows = [line.split() for line in spaced("top", "pods", "--containers").splitlines()]
    assert rows[1][:2] == ["busy", "main"]
    assert int(rows[1][2].removesuffix("m")) > 50
    assert len(kubectl("top", "nodes").splitlines()) == 2
