"""An engine that others' clients talk to, and kubectl."""

import contextlib
import http.server
import itertools
import json
import os
import pathlib
import select
import shutil
import ssl
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 60
CALL_SECONDS = 60
NUMBERS = itertools.count(1)


def program():
    """The program that serves, as `cargo build` leaves it, or what $PINNACE names."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("PINNACE", str(target / "debug" / "pinnace"))


class Kubectl:
    def __init__(self, path, kubeconfig):
        self.path = path
        self.env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)}

    def run(self, *args, input=None, code=0, **env):
        """What a command prints, standard output and errors; it must end with `code`."""
        done = subprocess.run(
            [self.path, *args],
            input=input,
            env={**self.env, **env},
            text=True,
            capture_output=True,
            timeout=CALL_SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    __call__ = run

    def get(self, *args):
        return json.loads(self("get", *args, "-o", "json"))

    def start(self, *args, **more):
        return subprocess.Popen(
            [self.path, *args], env=self.env, text=True, stdout=subprocess.PIPE, **more
        )


def wait_for_line(process, start):
    """Reads what a program prints until a line that begins so."""
    deadline = time.monotonic() + START_SECONDS
    seen = b""
    while not any(line.startswith(start.encode()) for line in seen.splitlines()):
        left = deadline - time.monotonic()
        ready, _, _ = select.select([process.stdout], [], [], max(left, 0))
        assert ready, f"no {start!r} in {seen!r}"
        read = os.read(process.stdout.fileno(), 65536)
        assert read, f"ended with {process.wait()} after {seen!r}"
        seen += read


@contextlib.contextmanager
def engine(kubeconfig, *flags):
    """An engine that serves, and writes its kubeconfig there."""
    command = [program(), "up", "--listen", "127.0.0.1:0", "--kubeconfig", str(kubeconfig), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            wait_for_line(process, "export KUBECONFIG=")
            yield kubeconfig
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory, request):
    """An engine for a module of tests, which may choose by `RUNTIME` what runs its pods."""
    path = tmp_path_factory.mktemp("engine") / "kubeconfig"
    runtime = getattr(request.module, "RUNTIME", "simulated")
    nodes = "3" if runtime == "simulated" else "1"
    with engine(path, "--runtime", runtime, "--nodes", nodes):
        yield path


@contextlib.contextmanager
def https(handler, certificate):
    """A server of Python's own over TLS; gives its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def kubectl_path():
    path = shutil.which(os.environ.get("KUBECTL", "kubectl"))
    if path is None:
        pytest.skip("there is no kubectl: set KUBECTL")
    return path


@pytest.fixture(scope="session")
def older_kubectl(tmp_path_factory):
    """kubectl 1.20 out of Debian's package, which is unpacked and not installed."""
    folder = tmp_path_factory.mktemp("older")
    for command in (["apt-get", "download", "kubernetes-client"], ["sh", "-c", "dpkg -x *.deb ."]):
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=CALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"there is no kubernetes-client of Debian's: {error}")
    yield str(folder / "usr/bin/kubectl")
    shutil.rmtree(folder)


@pytest.fixture
def kubectl(kubectl_path, kubeconfig):
    return Kubectl(kubectl_path, kubeconfig)


@pytest.fixture
def spaced(kubectl, request):
    """A namespace of the test's own, and kubectl in it."""
    name = f"{request.function.__name__.replace('_', '-')}-{next(NUMBERS)}"
    kubectl("create", "namespace", name)

    class Spaced(Kubectl):
        namespace = name

        def run(self, *args, **more):
            return super().run(args[0], "-n", name, *args[1:], **more)

        __call__ = run

        def start(self, *args, **more):
            return super().start(args[0], "-n", name, *args[1:], **more)

    return Spaced(kubectl.path, pathlib.Path(kubectl.env["KUBECONFIG"]))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that vouches for itself, as those of many webhooks do, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    path = tmp_path_factory.mktemp("certificate")
    files = path / "tls.crt", path / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files
