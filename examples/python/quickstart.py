"""Ten lines: three simulated nodes, a Deployment, and its pods."""

from pathlib import Path

import pinnace

MANIFEST = Path(__file__).parent.parent / "manifests" / "web.yaml"

with pinnace.Engine(runtime="simulated", nodes=3) as engine:
    engine.apply(MANIFEST.read_text())
    engine.wait("deployments/web", "Available", timeout=30)
    engine.scale("deployments/web", 5)
    engine.wait("deployments/web", "jsonpath={.status.availableReplicas}=5", timeout=30)
    for pod in engine.list("pods", labels={"app": "web"}):
        print(pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["phase"])
