"""Functions of the host that say who may do what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Union

from ._callback import guard, name_of

#: A function that is asked who may do what, when neither the node authorizer nor RBAC allows it.
#:
#: It is given the ``spec`` of a ``SubjectAccessReview`` as a dict: ``user``, ``groups``, and
#: ``resourceAttributes`` or ``nonResourceAttributes``. It allows by ``True``; ``False``, ``None`` and
#: a ``str`` that says why do not allow. When it raises, nothing is allowed. It runs on a thread of
#: the engine, and the request waits for it; it must not use the engine.
Authorizer = Callable[[dict[str, Any]], Union[bool, str, None]]


def native(authorizers: Iterable[Authorizer]) -> list[dict[str, Any]]:
    """The functions as the native engine takes them: from text to whether, and why not."""
    return [
        {"name": name_of(one, "authorizer"), "function": guard("authorizer", one, _decision)}
        for one in authorizers
    ]


def _decision(said: Union[bool, str, None]) -> tuple[bool, str]:
    return (said is True, said if isinstance(said, str) else "")
