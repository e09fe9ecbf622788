"""Functions of the host that change or refuse what is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ._callback import guard, name_of

#: What a function says: ``None`` allows, a ``str`` refuses and says why, a ``dict`` is the object
#: to be written instead.
Ruling = Union[None, str, "dict[str, Any]"]


@dataclass(frozen=True)
class Admission:
    """A function that is asked about what is written, by whomever, before it is.

    It is given the ``request`` of an ``AdmissionReview`` as a dict: ``operation``, ``userInfo``,
    ``object``, ``oldObject``. It allows by ``None``, refuses by a ``str``, and, where it
    ``mutates``, changes by the object to be written instead. When it raises, the write is refused.
    It runs on a thread of the engine, and the write waits for it: name the ``resources`` that it
    is about.

    :param resources: plural names as webhooks give them: ``pods``, ``pods/status``, ``*/*``.
    :param operations: ``CREATE``, ``UPDATE``, ``DELETE``, ``CONNECT``.

    >>> import pinnace
    >>> def no_latest(request):
    ...     for container in request["object"]["spec"]["containers"]:
    ...         if container["image"].endswith(":latest"):
    ...             return "images need a version"
    >>> rule = pinnace.Admission(no_latest, resources=["pods"], operations=["CREATE"])
    >>> with pinnace.Engine(runtime="simulated", admission=[rule]) as engine:
    ...     engine.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
    ...         "spec": {"containers": [{"name": "a", "image": "nginx:latest"}]}})
    Traceback (most recent call last):
        ...
    pinnace._errors.ForbiddenError: pod/a: pods "a" is forbidden: images need a version
    """

    function: Callable[[dict[str, Any]], Ruling]
    resources: Sequence[str] = ("*",)
    operations: Sequence[str] = ("*",)
    mutates: bool = False
    name: Optional[str] = None


def native(rules: Iterable[Admission]) -> list[dict[str, Any]]:
    """The functions as the native engine takes them: from text to what to do, and text."""
    return [
        {
            "name": rule.name or name_of(rule.function, "admission"),
            "mutates": rule.mutates,
            "resources": list(rule.resources),
            "operations": list(rule.operations),
            "function": guard("admission", rule.function, _ruling),
        }
        for rule in rules
    ]


def _ruling(ruling: Ruling) -> tuple[str, str]:
    if ruling is None:
        return ("allow", "")
    if isinstance(ruling, str):
        return ("refuse", ruling)
    return ("change", json.dumps(ruling))
