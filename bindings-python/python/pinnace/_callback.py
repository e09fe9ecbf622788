"""What stands between the native engine and functions of the host."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional, TypeVar, Union

from ._errors import ConfigError

S = TypeVar("S")
T = TypeVar("T")

_inside = threading.local()


@contextmanager
def inside() -> Iterator[None]:
    """While a function of the host runs whose end the engine waits for when it ends."""
    before = getattr(_inside, "call", False)
    _inside.call = True
    try:
        yield
    finally:
        _inside.call = before


def check_outside() -> None:
    """What the end of an engine waits for cannot be who ends it."""
    if getattr(_inside, "call", False):
        raise ConfigError(
            "an engine cannot be closed from within a reconcile or an audit function",
            reason="BadRequest",
            code=400,
        )


def document(value: Union[str, Mapping[str, Any], None]) -> Optional[str]:
    """What is given as YAML or a dict, as text."""
    return json.dumps(value) if isinstance(value, Mapping) else value


def name_of(function: Any, otherwise: str) -> str:
    """What a function is called in messages."""
    return str(getattr(function, "__name__", otherwise))


def guard(
    what: str, function: Callable[[Any], S], read: Callable[[S], T]
) -> Callable[[str], T]:
    """A function of JSON that gives what ``read`` makes of what ``function`` says. An exception
    goes to the logger ``pinnace.WHAT``, for the engine has only its text."""

    def run(about: str) -> T:
        try:
            return read(function(json.loads(about)))
        except Exception:
            name = name_of(function, what)
            logging.getLogger(f"pinnace.{what}").exception("the function %s failed", name)
            raise

    return run
