"""The way of the engine's messages to ``logging``."""

from __future__ import annotations

import logging

from . import _pinnace


def log_to_logging(level: int = logging.INFO) -> None:
    """Sends what the engines of this process have to say, from ``level`` up, to ``logging``, to
    loggers below ``pinnace``. Nothing is sent unless this is called; it works once per process.

    >>> import logging, pinnace
    >>> pinnace.log_to_logging(logging.WARNING)
    """
    _pinnace.log_to(_log, level)


def _log(target: str, level: int, message: str) -> None:
    # `pinnace_node::agent` is the logger `pinnace.node.agent`.
    name = target.replace("::", ".").replace("pinnace_", "pinnace.", 1)
    logging.getLogger(name).log(level, "%s", message)
