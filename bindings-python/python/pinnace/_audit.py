"""A function of the host that hears what becomes of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ._callback import document, guard, inside


@dataclass(frozen=True)
class Audit:
    """A function that is told what becomes of requests and calls, as far as a policy says.

    It is given each ``Event`` (``audit.k8s.io/v1``) as a dict, one at a time, on a thread of its own
    that requests do not wait for: of events for which 10,000 are waiting already the newest is lost.
    When it raises, the event is lost, and the traceback goes to the logger ``pinnace.audit``. All that
    could be told is told when the engine is closed, which the function itself cannot do. What it does
    through the engine makes events, too, unless the policy leaves them out.

    :param policy: a ``Policy`` (``audit.k8s.io/v1``), as YAML or a dict.

    >>> import pinnace
    >>> policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [
    ...     {"level": "Metadata", "users": ["pinnace:host"], "namespaces": ["default"],
    ...      "resources": [{"group": "", "resources": ["configmaps"]}]}]}
    >>> events = []
    >>> with pinnace.Engine(runtime="simulated", audit=pinnace.Audit(events.append, policy)) as engine:
    ...     new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ...     _ = engine.create(new)
    >>> [(event["stage"], event["objectRef"]["resource"]) for event in events]
    [('RequestReceived', 'configmaps'), ('ResponseComplete', 'configmaps')]
    """

    function: Callable[[dict[str, Any]], object]
    policy: Union[str, Mapping[str, Any]]


def native(audit: Optional[Audit]) -> Optional[dict[str, Any]]:
    """The function as the native engine takes it, and the policy as text."""
    if audit is None:
        return None
    note = guard("audit", audit.function, lambda _: None)

    def run(event: str) -> None:
        with inside():
            note(event)

    return {"policy": document(audit.policy), "function": run}
