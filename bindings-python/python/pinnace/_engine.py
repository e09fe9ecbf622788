"""The engine for blocking code."""

from __future__ import annotations

import atexit
import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, List, Literal, Optional, TypeVar, Union, overload

from . import _callback, _pinnace, _reconcile, _types
from ._admission import Admission
from ._audit import Audit
from ._authenticator import Authenticator
from ._authorizer import Authorizer
from ._errors import ClosedError
from ._scheduler import SchedulerPlugin
from ._types import (
    Applied,
    Controller,
    Manifest,
    Object,
    OnShutdown,
    PatchType,
    Propagation,
    RolloutStatus,
    RuntimeInfo,
    Selector,
    WatchEvent,
)

T = TypeVar("T")
Self = TypeVar("Self", bound="Engine")
Reconcile = Callable[[str, str], Optional[float]]

_open: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class Stream(Iterator[T], Generic[T]):
    """Events of a watch, or lines of a log: an iterator that waits for its next item. It is a
    context manager; ``close`` ends it, from any thread."""

    def __init__(self, native: _pinnace.Stream[Any], make: Callable[[Any], T]) -> None:
        self._native = native
        self._make = make

    def __next__(self) -> T:
        item = self._native.next().wait()
        if item is None:
            raise StopIteration
        return self._make(item)

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, also for a thread that waits for its next item."""
        self._native.close()


class Serving(_types.ServingInfo):
    """An engine that listens; a context manager."""

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening: watches end, requests in flight get ten seconds to finish. Closing it
        again, or after the engine, does nothing."""
        try:
            self._native.stop().wait()
        except ClosedError:
            pass


class Engine:
    """A cluster in this process, for blocking code.

    Any number of threads may use it at once. Verbs wait without holding the interpreter, and
    Ctrl-C interrupts them. Objects are named as kubectl names them (``deployments/web``,
    ``deploy/web``, ``nodes/n1``), in the namespace ``default`` unless another is given.

    :param runtime: what runs containers: ``auto`` (containerd where it answers, else ``process``),
        ``containerd``, ``containerd:///path/to/socket``, ``process`` or ``simulated``.
    :param nodes: how many nodes; more than one needs the simulated runtime, 0 is a control plane.
    :param data_dir: where objects are kept; in memory without it.
    :param node_name: the name of this machine's node; its host name without it.
    :param on_shutdown: what becomes of pods at ``close``: ``stop`` or ``leave`` (for the next
        engine on the same ``data_dir`` to adopt); by default ``leave`` with a ``data_dir``.
    :param seed: makes what is random in the engine repeatable.
    :param admission: functions that change or refuse what is written.
    :param scheduler: a ``KubeSchedulerConfiguration``, as YAML or a dict.
    :param scheduler_plugins: functions that have a say in where pods go.
    :param rebalancing: a ``DeschedulerPolicy``, as YAML or a dict, by which pods are evicted that
        could be placed better; ``True`` for all strategies, every five minutes. Off by default.
    :param admission_configuration: an ``AdmissionConfiguration``, as YAML or a dict: what PodSecurity
        asks of pods, what ResourceQuota lets nobody use without a quota.
    :param disable_admission: rules of admission to leave out, by the names of upstream's plug-ins.
    :param plugins_dir: where CSI drivers register, by Unix sockets, whose paths have 107 bytes at
        most: a directory for one engine, such as ``/var/lib/kubelet/plugins_registry``; in the
        ``data_dir`` without it.
    :param authorizers: functions that say who may do what, beside RBAC.
    :param token_authenticators: functions that know bearer tokens, beside those of the cluster.
    :param authenticators: functions that know who makes a request over HTTPS when neither a
        certificate nor a token says that.
    :param audit: a function that hears what becomes of requests.

    >>> import pinnace
    >>> with pinnace.Engine(runtime="simulated") as engine:
    ...     engine.runtime.name
    'simulated'
    """

    def __init__(
        self,
        runtime: str = "auto",
        nodes: Optional[int] = None,
        data_dir: Union[str, os.PathLike[str], None] = None,
        node_name: Optional[str] = None,
        on_shutdown: Optional[OnShutdown] = None,
        seed: Optional[int] = None,
        admission: Iterable[Admission] = (),
        scheduler: Union[str, Mapping[str, Any], None] = None,
        scheduler_plugins: Iterable[SchedulerPlugin] = (),
        rebalancing: Union[bool, str, Mapping[str, Any], None] = None,
        admission_configuration: Union[str, Mapping[str, Any], None] = None,
        disable_admission: Iterable[str] = (),
        plugins_dir: Union[str, os.PathLike[str], None] = None,
        authorizers: Iterable[Authorizer] = (),
        token_authenticators: Iterable[Authenticator] = (),
        authenticators: Iterable[Authenticator] = (),
        audit: Optional[Audit] = None,
    ) -> None:
        config = _types.config(
            runtime,
            nodes,
            data_dir,
            node_name,
            on_shutdown,
            seed,
            admission,
            scheduler,
            scheduler_plugins,
            rebalancing,
            admission_configuration,
            disable_admission,
            plugins_dir,
            authorizers,
            token_authenticators,
            authenticators,
            audit,
        )
        self._native = _pinnace.start(config).wait()
        self._closed = False
        _open.add(self)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        cls: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<pinnace.Engine {self.runtime.name}{closed}>"

    def close(self) -> None:
        """Ends the engine: everything stops, and its threads are joined. Closing it again does
        nothing; any other use afterwards raises :class:`pinnace.ClosedError`."""
        if self._closed:
            return
        _callback.check_outside()
        self._native.close().wait()
        self._closed = True

    @property
    def runtime(self) -> RuntimeInfo:
        """Which runtime runs the containers, and why that one was taken."""
        return RuntimeInfo(*self._native.runtime())

    def apply(self, manifest: Manifest, namespace: str = "default") -> List[Applied]:
        """Makes the objects of a manifest, or changes those that exist to what it says: any number
        of YAML or JSON documents, or objects as dicts.

        :raises ManifestError: with line and column; nothing has been done.
        :raises PinnaceError: for the first object that is refused; those before it are applied.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"
        ...     [(a.name, a.change) for a in engine.apply(text) + engine.apply(text)]
        [('configmap/a', 'created'), ('configmap/a', 'unchanged')]
        """
        native = self._native.apply(namespace, _types.manifest_text(manifest))
        return [Applied(*one) for one in native.wait()]

    def delete_manifest(self, manifest: Manifest, namespace: str = "default") -> None:
        """Deletes the objects that a manifest names, in the opposite order; those that are gone
        already are passed over."""
        self._native.delete_manifest(namespace, _types.manifest_text(manifest)).wait()

    def get(self, object: str, namespace: str = "default") -> Object:
        """Reads an object.

        :raises NotFoundError: when there is none.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     engine.get("namespaces/default")["status"]["phase"]
        'Active'
        """
        return self._native.get(namespace, object).wait()

    def list(
        self,
        kind: str,
        namespace: str = "default",
        *,
        labels: Selector = None,
        fields: Selector = None,
        all_namespaces: bool = False,
    ) -> List[Object]:
        """Lists the objects of a kind, by namespace and name.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     [one["metadata"]["name"] for one in engine.list("ns", fields={"metadata.name": "default"})]
        ['default']
        """
        scope = _types.scope(namespace, all_namespaces)
        labels, fields = _types.selector_text(labels), _types.selector_text(fields)
        return self._native.list(scope, kind, labels, fields).wait()

    def watch(
        self,
        kind: str,
        namespace: str = "default",
        *,
        labels: Selector = None,
        fields: Selector = None,
        all_namespaces: bool = False,
    ) -> Stream[WatchEvent]:
        """Watches the objects of a kind: first what is there, as ``ADDED``, then what happens.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     with engine.watch("namespaces") as events:
        ...         event, namespace = next(events)
        ...         event, namespace["metadata"]["name"]
        ('ADDED', 'default')
        """
        scope = _types.scope(namespace, all_namespaces)
        labels, fields = _types.selector_text(labels), _types.selector_text(fields)
        return Stream(self._native.watch(scope, kind, labels, fields).wait(), _types.event)

    def create(self, object: Object, namespace: str = "default") -> Object:
        """Creates an object; ``namespace`` is for one that names none.

        :raises AlreadyExistsError: when there is one of that name.
        """
        return self._native.create(namespace, json.dumps(object)).wait()

    def update(self, object: Object, namespace: str = "default") -> Object:
        """Replaces an object.

        :raises ConflictError: when it has changed since it was read.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        ...     read = engine.create(new)
        ...     read["data"] = {"key": "value"}
        ...     engine.update(read)["data"]
        {'key': 'value'}
        """
        return self._native.update(namespace, json.dumps(object)).wait()

    def update_status(self, object: Object, namespace: str = "default") -> Object:
        """Replaces the status of an object; its spec stays as it is."""
        return self._native.update_status(namespace, json.dumps(object)).wait()

    def patch(
        self,
        object: str,
        patch: Any,
        type: PatchType = "merge",
        namespace: str = "default",
    ) -> Object:
        """Changes an object: by a partial object (``merge``), one whose lists are merged by their
        keys (``strategic``) or applied by the server (``apply``), or by operations (``json``)."""
        return self._native.patch(namespace, object, type, json.dumps(patch)).wait()

    def delete(
        self,
        object: str,
        namespace: str = "default",
        *,
        propagation: Optional[Propagation] = None,
        grace_period_seconds: Optional[int] = None,
    ) -> Object:
        """Deletes an object. It may stay until its finalizers and its grace period allow it to go:
        ``wait`` for ``delete`` waits for that.

        :param propagation: what becomes of objects that it owns: ``Foreground`` (they go first),
            ``Background`` (they go later) or ``Orphan`` (they stay).
        """
        return self._native.delete(namespace, object, propagation, grace_period_seconds).wait()

    def scale(self, object: str, replicas: int, namespace: str = "default") -> None:
        """Sets how many replicas there should be."""
        self._native.scale(namespace, object, replicas).wait()

    def wait(
        self,
        object: str,
        condition: str,
        timeout: float = 30,
        namespace: str = "default",
    ) -> None:
        """Waits until an object is as wanted: ``Available`` or another condition of its status,
        also as ``condition=Ready=False``; ``create``; ``delete``; or a field's value, as
        ``jsonpath={.status.phase}=Running``.

        :param timeout: seconds.
        :raises TimeoutError: with what the object said of itself last.
        """
        self._native.wait(namespace, object, condition, timeout).wait()

    @overload
    def logs(
        self,
        pod: str,
        container: Optional[str] = ...,
        *,
        follow: Literal[False] = ...,
        previous: bool = ...,
        tail_lines: Optional[int] = ...,
        since: Optional[float] = ...,
        timestamps: bool = ...,
        limit_bytes: Optional[int] = ...,
        namespace: str = ...,
    ) -> str: ...

    @overload
    def logs(
        self,
        pod: str,
        container: Optional[str] = ...,
        *,
        follow: Literal[True],
        previous: bool = ...,
        tail_lines: Optional[int] = ...,
        since: Optional[float] = ...,
        timestamps: bool = ...,
        limit_bytes: Optional[int] = ...,
        namespace: str = ...,
    ) -> Stream[str]: ...

    def logs(
        self,
        pod: str,
        container: Optional[str] = None,
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: Optional[int] = None,
        since: Optional[float] = None,
        timestamps: bool = False,
        limit_bytes: Optional[int] = None,
        namespace: str = "default",
    ) -> Union[str, Stream[str]]:
        """The log of a container of a pod; with ``follow`` its lines, until the container ends.

        :param container: may be left out for a pod that has one.
        :param previous: of the attempt before the last restart.
        :param since: only what is not older than so many seconds.
        """
        log = self._native.logs(
            namespace, pod, container, follow, previous, tail_lines, since, timestamps, limit_bytes
        ).wait()
        return Stream(log, str) if follow else str(log)

    def rollout_status(self, deployment: str, namespace: str = "default") -> RolloutStatus:
        """How far the rollout of a Deployment is."""
        return RolloutStatus(*self._native.rollout_status(namespace, deployment).wait())

    def rollout_undo(self, deployment: str, revision: int = 0, namespace: str = "default") -> None:
        """Goes back to a revision of a Deployment, or to the one before if ``revision`` is 0."""
        self._native.rollout_undo(namespace, deployment, revision).wait()

    def rollout_restart(self, deployment: str, namespace: str = "default") -> None:
        """Replaces all pods of a Deployment by its strategy."""
        self._native.rollout_restart(namespace, deployment).wait()

    def rollout_pause(self, deployment: str, namespace: str = "default") -> None:
        """Lets changes of a Deployment wait until ``rollout_resume``."""
        self._native.rollout_pause(namespace, deployment, True).wait()

    def rollout_resume(self, deployment: str, namespace: str = "default") -> None:
        """Takes back ``rollout_pause``."""
        self._native.rollout_pause(namespace, deployment, False).wait()

    def import_image(self, path: Union[str, os.PathLike[str]]) -> List[str]:
        """Imports every image of an OCI archive or layout, so that pods can use it without a
        registry. Gives the names under which they may ask for them."""
        return self._native.import_image(path).wait()

    def serve(
        self,
        address: Optional[str] = None,
        *,
        unix: Union[str, os.PathLike[str], None] = None,
        names: Sequence[str] = (),
    ) -> Serving:
        """Serves the API as Kubernetes does, for kubectl and every other client. Nothing listens
        before this is called; it ends when the result is closed, and with the engine.

        :param address: where to serve HTTPS, as ``127.0.0.1:6443``; port 0 takes a free one.
        :param unix: the path of a Unix socket, without TLS: the owner of this process and root may
            do everything over it.
        :param names: more names and addresses for the certificate.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     with engine.serve("127.0.0.1:0") as serving:
        ...         config = engine.kubeconfig("admin", ["system:masters"])
        ...         serving.url in config
        True
        """
        native = self._native.serve(address, unix, [*names]).wait()
        return Serving(native)

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> str:
        """A kubeconfig for what the engine serves, with a key and a certificate that make its
        holder ``user``, a member of ``groups``, for a year. The group ``system:masters`` may do
        everything.

        :raises ConfigError: when nothing serves HTTPS.
        """
        return self._native.kubeconfig(user, [*groups])

    def explain(self, pod: str, namespace: str = "default") -> Object:
        """Why a pod is where it is, or nowhere: the nodes that it may go to and their scores
        (``fitting``, the best first), those that it may not go to and what every plugin has
        against them (``excluded``), what the pod's condition says (``message``) and what would
        have to change (``relaxations``, the cheapest first).

        :raises NotFoundError: when there is no such pod.
        """
        return self._native.explain(namespace, pod).wait()

    def explain_what_if(self, pod: Object, namespace: str = "default") -> Object:
        """As :meth:`explain`, for a pod that need not exist: what would become of it.
        ``namespace`` is for one that names none.

        >>> import pinnace
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        ...            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
        ...     engine.wait("pods/" + engine.create(pod)["metadata"]["name"], "Ready")
        ...     pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000"}}
        ...     engine.explain_what_if(pod)["message"]
        '0/1 nodes are available: 1 Insufficient cpu.'
        """
        return self._native.explain_what_if(namespace, json.dumps(pod)).wait()

    def controller(
        self,
        kind: str,
        reconcile: Reconcile,
        *,
        owns: Sequence[str] = (),
        workers: int = 1,
        name: Optional[str] = None,
    ) -> Controller:
        """Calls ``reconcile(namespace, name)`` for every object of a kind, in all namespaces, when
        it or an object of a kind in ``owns`` that it controls has changed, until the engine is
        closed. For an object outside namespaces the namespace is empty.

        It is called on threads of the engine, ``workers`` at a time and never twice at once for
        one object; it compares what is with what should be, for the object may even be gone. It
        returns ``None``, or seconds after which it wants to be called again. If it raises, the
        traceback goes to the logger ``pinnace.controller.NAME`` and it is called again, later each
        time.

        >>> import pinnace, threading
        >>> seen = threading.Event()
        >>> def reconcile(namespace, name):
        ...     if name == "hello":
        ...         seen.set()
        >>> with pinnace.Engine(runtime="simulated") as engine:
        ...     controller = engine.controller("configmaps", reconcile)
        ...     new = engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: hello}}")
        ...     seen.wait(10)
        True
        """
        name = name or str(getattr(reconcile, "__name__", kind))
        guarded = _reconcile.guard(name, reconcile)
        native = self._native.controller(name, kind, [*owns], workers, guarded)
        return Controller(native.wait())


@atexit.register
def _close_all() -> None:
    """Ends what a program has left open, while Python can still run its reconciles."""
    for engine in [*_open]:
        try:
            engine.close()
        except Exception:
            # In a fork there is nothing of it to close.
            pass
