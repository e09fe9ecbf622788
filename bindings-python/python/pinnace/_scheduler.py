"""Functions of the host that have a say in where pods go."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, List, Optional, Union

from . import _pinnace
from ._callback import name_of

#: What a function says: a number per node, in the order of the nodes, or numbers by the names of
#: nodes. ``None``, a negative number, and a node that is missing are nodes that will not do.
Scores = Union[Sequence[Optional[float]], Mapping[str, Optional[float]]]


class Nodes:
    """The nodes that a function is asked about, in arrays of the same length."""

    def __init__(self, native: _pinnace.Nodes) -> None:
        self._native = native
        #: Their names.
        self.names: List[str] = native.names()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<pinnace.Nodes {len(self)}>"

    @property
    def resources(self) -> List[str]:
        """The resources that pods are scheduled by."""
        return self._native.resources()

    def allocatable(self, resource: str) -> memoryview:
        """What each has of a resource: thousandths of a core for ``cpu``, else bytes or pieces. A
        view of 64-bit integers, which ``numpy.asarray`` takes without a copy."""
        return self._column(self._native.allocatable(resource))

    def requested(self, resource: str) -> memoryview:
        """What the pods of each ask of a resource, as :meth:`allocatable`."""
        return self._column(self._native.requested(resource))

    def label(self, key: str) -> List[Optional[str]]:
        """The value of a label of each."""
        return self._native.label(key)

    def object(self, index: int) -> Any:
        """A node as a whole."""
        found = self._native.object(index)
        if found is None:
            raise IndexError(index)
        return json.loads(found)

    def _column(self, column: Optional[bytes]) -> memoryview:
        return memoryview(bytes(8 * len(self)) if column is None else column).cast("q")


@dataclass(frozen=True)
class SchedulerPlugin:
    """A function that excludes and ranks the nodes that a pod may go to.

    It is called once per pod, with the pod as a dict and all nodes that the other plugins let pass
    as :class:`Nodes`, and gives a number from 0 to 100 per node, the more the better. It runs on a
    thread of its own. When it raises, does not answer within ``timeout`` seconds, or gives what is
    no score, the pod's condition names it, and the pod is tried again later.

    :param weight: by how much its scores count.
    :param reason: why nodes are excluded, for the conditions of pods.

    >>> import pinnace
    >>> def fewest_pods(pod, nodes):
    ...     free = [a - r for a, r in zip(nodes.allocatable("cpu"), nodes.requested("cpu"))]
    ...     return [100 * one / max(free) for one in free]
    >>> plugin = pinnace.SchedulerPlugin(fewest_pods, weight=10)
    >>> with pinnace.Engine(runtime="simulated", nodes=3, scheduler_plugins=[plugin]) as engine:
    ...     _ = engine.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
    ...         "spec": {"containers": [{"name": "a", "image": "nginx:1"}]}})
    ...     engine.wait("pods/a", "Ready", timeout=30)
    """

    function: Callable[[dict[str, Any], Nodes], Scores]
    weight: int = 1
    name: Optional[str] = None
    reason: Optional[str] = None
    timeout: float = 10.0


def native(plugins: Iterable[SchedulerPlugin]) -> list[dict[str, Any]]:
    """The plugins as the native engine takes them."""
    return [_native(plugin) for plugin in plugins]


def _native(plugin: SchedulerPlugin) -> dict[str, Any]:
    name = plugin.name or name_of(plugin.function, "plugin")
    return {
        "name": name,
        "weight": plugin.weight,
        "reason": plugin.reason or f'node(s) were rejected by plugin "{name}"',
        "timeout": plugin.timeout,
        "function": _guard(plugin),
    }


def _guard(plugin: SchedulerPlugin) -> Callable[[str, _pinnace.Nodes], List[float]]:
    def run(pod: str, native: _pinnace.Nodes) -> List[float]:
        try:
            nodes = Nodes(native)
            return _scores(plugin.function(json.loads(pod), nodes), nodes)
        except Exception:
            logging.getLogger("pinnace.scheduler").exception("a scheduler plugin failed")
            raise

    return run


def _scores(given: Scores, nodes: Nodes) -> List[float]:
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(nodes.names))
        if unknown:
            raise ValueError(f"it was not asked about node {unknown[0]!r}")
        given = [given.get(name) for name in nodes.names]
    return [-1.0 if score is None else float(score) for score in given]


def policy(rebalancing: Union[bool, str, Mapping[str, Any], None]) -> Optional[str]:
    """A policy as the native engine takes it: nothing is off, an empty one has all strategies."""
    if isinstance(rebalancing, Mapping):
        return json.dumps(rebalancing)
    if isinstance(rebalancing, bool):
        return "" if rebalancing else None
    return rebalancing
