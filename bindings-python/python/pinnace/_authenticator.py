"""Functions of the host that know callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union

from ._callback import guard, name_of

#: What a function says of a caller: who it is, as a ``UserInfo``: ``username``, and where there are
#: any ``uid``, ``groups`` and ``extra``. A ``str`` refuses the caller and says why (in the log and to
#: a ``TokenReview``; callers are not told). ``None`` cannot tell, and others are asked.
Identity = Union[Mapping[str, Any], str, None]

#: A function that is asked who a caller is, with each request, which waits for it.
#:
#: As one of ``token_authenticators`` it is given the ``spec`` of a ``TokenReview`` as a dict:
#: ``token``. As one of ``authenticators`` it is given the head of a request: ``method``,
#: ``requestURI``, ``headers`` (lists by names in lower case) and ``address``, the other end of the
#: connection, ``None`` over a Unix socket. When it raises or says what cannot be, the caller is
#: refused. It runs on a thread of the engine.
Authenticator = Callable[[dict[str, Any]], Identity]


def native(authenticators: Iterable[Authenticator]) -> list[dict[str, Any]]:
    """The functions as the native engine takes them: from text to what is said, and text."""
    return [
        {"name": name_of(one, "authenticator"), "function": guard("authenticator", one, _identity)}
        for one in authenticators
    ]


def _identity(said: Identity) -> tuple[str, str]:
    if said is None:
        return ("unknown", "")
    if isinstance(said, str):
        return ("refuse", said)
    if isinstance(said, Mapping):
        return ("accept", json.dumps(dict(said)))
    raise TypeError(f"expected a dict, a str or None, not {type(said).__name__}")
