"""What verbs take and give."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Optional, Union

from . import _audit, _authenticator, _authorizer, _pinnace, _scheduler
from ._admission import Admission, native
from ._audit import Audit
from ._authenticator import Authenticator
from ._authorizer import Authorizer
from ._callback import document
from ._errors import ConfigError
from ._scheduler import SchedulerPlugin

#: An object of the cluster, as Kubernetes defines it.
Object = dict[str, Any]

#: Text with any number of YAML or JSON documents, or objects.
Manifest = Union[str, bytes, Mapping[str, Any], Sequence[Mapping[str, Any]]]

#: ``{"app": "web"}``, or a selector as kubectl takes it: ``"app=web,tier!=cache"``.
Selector = Union[str, Mapping[str, str], None]

PatchType = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["Foreground", "Background", "Orphan"]
OnShutdown = Literal["stop", "leave"]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Applied(NamedTuple):
    """What ``apply`` has done with one object."""

    #: As ``deployment.apps/web``.
    name: str
    #: ``created``, ``configured`` or ``unchanged``.
    change: Literal["created", "configured", "unchanged"]
    #: The object as it is now.
    object: Object


class WatchEvent(NamedTuple):
    """Something that happened to an object."""

    type: EventType
    #: The object as it is now; a deleted one, as it was last.
    object: Object


class RolloutStatus(NamedTuple):
    """How far a rollout is."""

    done: bool
    #: The sentence that ``kubectl rollout status`` prints.
    message: str


class RuntimeInfo(NamedTuple):
    """Which runtime runs the containers, and why that one was taken."""

    name: str
    why: str


class Controller:
    """A reconcile function at work; it ends with the engine."""

    def __init__(self, native: _pinnace.Controller) -> None:
        self._native = native

    def enqueue(self, name: str, namespace: str = "default") -> None:
        """Has an object reconciled, whether or not anything has changed."""
        self._native.enqueue(namespace, name)


class ServingInfo:
    """Where an engine listens."""

    def __init__(self, native: _pinnace.Serving) -> None:
        self._native = native

    def __repr__(self) -> str:
        return f"<pinnace.{type(self).__name__} {self.url or self.unix}>"

    @property
    def address(self) -> Optional[str]:
        """Address and port of HTTPS."""
        return self._native.address()

    @property
    def url(self) -> Optional[str]:
        """The URL of the API for clients on this machine."""
        return self._native.url()

    @property
    def unix(self) -> Optional[str]:
        """The path of the Unix socket."""
        path = self._native.unix()
        return None if path is None else os.fspath(path)

    @property
    def ca(self) -> str:
        """The certificate of the authority that clients have to trust, in PEM."""
        return self._native.ca()


def config(
    runtime: str,
    nodes: Optional[int],
    data_dir: Union[str, os.PathLike[str], None],
    node_name: Optional[str],
    on_shutdown: Optional[OnShutdown],
    seed: Optional[int],
    admission: Iterable[Admission],
    scheduler: Union[str, Mapping[str, Any], None],
    scheduler_plugins: Iterable[SchedulerPlugin],
    rebalancing: Union[bool, str, Mapping[str, Any], None],
    admission_configuration: Union[str, Mapping[str, Any], None],
    disable_admission: Iterable[str],
    plugins_dir: Union[str, os.PathLike[str], None],
    authorizers: Iterable[Authorizer],
    token_authenticators: Iterable[Authenticator],
    authenticators: Iterable[Authenticator],
    audit: Optional[Audit],
) -> dict[str, Any]:
    return {
        "runtime": runtime,
        "nodes": nodes,
        "data_dir": data_dir,
        "node_name": node_name,
        "on_shutdown": on_shutdown,
        "seed": seed,
        "admission": native(admission),
        "scheduler": document(scheduler),
        "scheduler_plugins": _scheduler.native(scheduler_plugins),
        "rebalancing": _scheduler.policy(rebalancing),
        "admission_configuration": document(admission_configuration),
        "disable_admission": list(disable_admission),
        "plugins_dir": plugins_dir,
        "authorizers": _authorizer.native(authorizers),
        "token_authenticators": _authenticator.native(token_authenticators),
        "authenticators": _authenticator.native(authenticators),
        "audit": _audit.native(audit),
    }


def manifest_text(manifest: Manifest) -> str:
    if isinstance(manifest, str):
        return manifest
    if isinstance(manifest, (bytes, bytearray)):
        return manifest.decode()
    documents = [manifest] if isinstance(manifest, Mapping) else manifest
    return "\n---\n".join(json.dumps(document) for document in documents)


def selector_text(selector: Selector) -> str:
    if selector is None:
        return ""
    if isinstance(selector, str):
        return selector
    return ",".join(f"{name}={value}" for name, value in selector.items())


def scope(namespace: Optional[str], all_namespaces: bool) -> Optional[str]:
    """The namespace to look in, ``None`` for all."""
    if all_namespaces:
        return None
    if not namespace:
        message = "namespace is empty; all_namespaces=True looks in all"
        raise ConfigError(message, reason="BadRequest", code=400)
    return namespace


def event(item: tuple[EventType, Object]) -> WatchEvent:
    return WatchEvent(*item)
