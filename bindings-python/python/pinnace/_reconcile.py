"""What stands between the native loop and a reconcile function."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Optional

from ._callback import inside

#: Seconds after which to come again, or ``None`` to wait for the next change.
After = Optional[float]


def guard(name: str, reconcile: Callable[[str, str], After]) -> Callable[[str, str], After]:
    """Tells ``logging`` about exceptions, which the native loop only counts."""
    logger = logging.getLogger(f"pinnace.controller.{name}")

    def run(namespace: str, object: str) -> After:
        try:
            with inside():
                return reconcile(namespace, object)
        except Exception:
            key = f"{namespace}/{object}" if namespace else object
            logger.exception("reconcile of %s failed; it will be tried again", key)
            raise

    return run


def guard_async(
    name: str,
    reconcile: Callable[[str, str], Awaitable[After]],
    loop: asyncio.AbstractEventLoop,
) -> Callable[[str, str], After]:
    """As :func:`guard`, for a coroutine function that is to run on an event loop."""

    async def run(namespace: str, object: str) -> After:
        return await reconcile(namespace, object)

    def on_loop(namespace: str, object: str) -> After:
        coroutine = run(namespace, object)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
        except RuntimeError:
            coroutine.close()
            raise

    return guard(name, on_loop)
