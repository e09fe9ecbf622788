"""The main job, in real containers: a Deployment of three web servers is applied, heals when one
is killed behind its back, is scaled to five, and rolls to a new version while a client keeps
asking. At the end nothing is left.

``PINNACE_RUNTIME`` names the runtime (``auto`` if not set; ``containerd:///path/to/socket`` for a
containerd elsewhere), ``PINNACE_IMAGES`` an OCI archive with the images to import first.
"""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pinnace

MANIFEST = Path(__file__).parent.parent / "manifests" / "web.yaml"
MINUTE = 60
REPLICAS = 5
MAX_UNAVAILABLE = 1
RESTARTED = "jsonpath={.status.containerStatuses.0.restartCount}=1"


def main():
    begun = time.monotonic()
    with pinnace.Engine(runtime=os.environ.get("PINNACE_RUNTIME", "auto")) as engine:
        took = (time.monotonic() - begun) * 1000
        name, why = engine.runtime
        print(f"engine started in {took:.1f}ms: runtime {name} ({why})", flush=True)
        tell(engine)
    print("the engine has ended; nothing is left of it")


def tell(engine):
    if "PINNACE_IMAGES" in os.environ:
        print("imported", ", ".join(engine.import_image(os.environ["PINNACE_IMAGES"])))
    engine.apply(MANIFEST.read_text())
    engine.wait("deployments/web", "Available", MINUTE)
    all_available(engine, 3)
    print("three replicas are available:", *versions(engine), flush=True)

    victim, _ = ready_pods(engine)[0]
    kill_container_of(victim)
    engine.wait(f"pods/{victim}", RESTARTED, MINUTE)
    all_available(engine, 3)
    print(f"a container of {victim} was killed behind the engine's back, and is back", flush=True)

    engine.scale("deployments/web", 5)
    all_available(engine, 5)
    print("scaled to five:", *versions(engine), flush=True)

    least = roll(engine)
    print(f"rolled to version 2; at least {least} of {REPLICAS} answered at every moment", flush=True)
    if least < REPLICAS - MAX_UNAVAILABLE:
        sys.exit(f"only {least} answered")

    engine.delete("deployments/web", propagation="Foreground")
    engine.wait("deployments/web", "delete", MINUTE)
    left = len(engine.list("pods"))
    print(f"deleted; {left} pods are left", flush=True)
    if left:
        sys.exit(f"{left} pods are left")


def all_available(engine, replicas):
    goal = f"jsonpath={{.status.availableReplicas}}={replicas}"
    engine.wait("deployments/web", goal, MINUTE)


def ready_pods(engine):
    """Names and addresses of the pods that are ready and not going."""
    ready = []
    for pod in engine.list("pods", labels={"app": "web"}):
        conditions = pod["status"].get("conditions", [])
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if is_ready and "deletionTimestamp" not in pod["metadata"] and "podIP" in pod["status"]:
            ready.append((pod["metadata"]["name"], pod["status"]["podIP"]))
    return ready


def versions(engine):
    """What the ready pods answer."""
    addresses = [ip for _, ip in ready_pods(engine)]
    with ThreadPoolExecutor(max(len(addresses), 1)) as pool:
        return sorted(answer for answer in pool.map(ask, addresses) if answer is not None)


def ask(ip):
    """The body of the answer to an HTTP request, ``None`` when there is none within a second."""
    connection = HTTPConnection(ip, 8080, timeout=1)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def roll(engine):
    """Rolls to version 2 and keeps asking all the while. Gives the least number of answers."""
    container = {"name": "web", "env": [{"name": "VERSION", "value": "2"}]}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    engine.patch("deployments/web", patch, type="strategic")
    least = sys.maxsize
    while True:
        least = min(least, len(versions(engine)))
        if engine.rollout_status("deployments/web").done:
            new = versions(engine)
            print("now they answer:", *new, flush=True)
            if new != ["2"] * REPLICAS:
                sys.exit(f"not all are new: {new}")
            return least
        time.sleep(0.05)


def kill_container_of(pod):
    """Kills the processes of a pod, found by the name that their environment carries."""
    mark = f"POD_NAME={pod}".encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            environment = (process / "environ").read_bytes()
            if mark in environment.split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            # It has ended meanwhile.
            pass


if __name__ == "__main__":
    main()
