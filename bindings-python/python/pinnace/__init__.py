"""Kubernetes as a library: a container orchestration engine in this process.

>>> import pinnace
>>> with pinnace.Engine(runtime="simulated", nodes=3) as engine:
...     engine.get("namespaces/default")["status"]["phase"]
'Active'
"""

from ._admission import Admission
from ._async import AsyncEngine, AsyncServing, AsyncStream
from ._audit import Audit
from ._authenticator import Authenticator
from ._authorizer import Authorizer
from ._engine import Engine, Serving, Stream
from ._errors import (
    AlreadyExistsError,
    ClosedError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    ManifestError,
    NotFoundError,
    PinnaceError,
    TimeoutError,
)
from ._logging import log_to_logging
from ._pinnace import __version__
from ._scheduler import Nodes, SchedulerPlugin
from ._types import Applied, Controller, Object, RolloutStatus, RuntimeInfo, WatchEvent

__all__ = [
    "Admission",
    "AlreadyExistsError",
    "Applied",
    "AsyncEngine",
    "AsyncServing",
    "AsyncStream",
    "Audit",
    "Authenticator",
    "Authorizer",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "Controller",
    "Engine",
    "ForbiddenError",
    "InvalidError",
    "ManifestError",
    "Nodes",
    "NotFoundError",
    "Object",
    "PinnaceError",
    "RolloutStatus",
    "RuntimeInfo",
    "SchedulerPlugin",
    "Serving",
    "Stream",
    "TimeoutError",
    "WatchEvent",
    "__version__",
    "log_to_logging",
]
