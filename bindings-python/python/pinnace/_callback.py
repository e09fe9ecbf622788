"""What stands between the native engine and functions of the host."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


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
