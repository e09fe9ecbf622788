"""What can go wrong, as exceptions."""

from __future__ import annotations

import builtins
from typing import Any, Optional


class PinnaceError(Exception):
    """The root of all errors of an engine.

    >>> import pinnace
    >>> with pinnace.Engine(runtime="simulated") as engine:
    ...     try:
    ...         engine.get("pods/none")
    ...     except pinnace.PinnaceError as error:
    ...         print(type(error).__name__, error.reason, error.code, error.object)
    NotFoundError NotFound 404 pods/none
    """

    #: Why, by a name of the Kubernetes API, such as ``NotFound``.
    reason: str
    #: The HTTP status code that goes with the reason.
    code: int
    #: The object that it is about, as ``pods/web-1``, or ``None``.
    object: Optional[str]
    #: The message for people.
    message: str

    def __init__(
        self,
        message: str,
        *,
        reason: str = "InternalError",
        code: int = 500,
        object: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.object = object

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross processes; those with keywords need to say how.
        return _rebuild, (type(self), self.message, self.reason, self.code, self.object)


class NotFoundError(PinnaceError):
    """There is no such object, or no such kind."""


class AlreadyExistsError(PinnaceError):
    """An object of that name exists."""


class ConflictError(PinnaceError):
    """The object has changed since it was read, or is not what the caller expects."""


class InvalidError(PinnaceError):
    """The object does not pass validation, or the request cannot be read."""


class ForbiddenError(PinnaceError):
    """It may not be done."""


class TimeoutError(PinnaceError, builtins.TimeoutError):
    """What was waited for has not come."""


class ManifestError(PinnaceError, ValueError):
    """A manifest cannot be read. The message has line and column."""


class ConfigError(PinnaceError, ValueError):
    """An engine cannot be made as configured, or was used as it cannot be."""


class ClosedError(PinnaceError):
    """The engine has been closed."""


_BY_KIND = {
    "manifest": ManifestError,
    "config": ConfigError,
    "timeout": TimeoutError,
    "closed": ClosedError,
}

_BY_REASON = {
    "NotFound": NotFoundError,
    "AlreadyExists": AlreadyExistsError,
    "Conflict": ConflictError,
    "Invalid": InvalidError,
    "BadRequest": InvalidError,
    "Forbidden": ForbiddenError,
    "Timeout": TimeoutError,
    "ServerTimeout": TimeoutError,
    "ServiceUnavailable": ClosedError,
}


def make(kind: str, reason: str, code: int, *, object: Optional[str], message: str) -> PinnaceError:
    """The exception for an error of the native half."""
    cls = _BY_KIND.get(kind) or _BY_REASON.get(reason, PinnaceError)
    return cls(message, reason=reason, code=code, object=object)


def _rebuild(
    cls: type[PinnaceError], message: str, reason: str, code: int, object: Optional[str]
) -> PinnaceError:
    return cls(message, reason=reason, code=code, object=object)
