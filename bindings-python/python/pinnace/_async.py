"""The engine for asyncio."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
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
Reconcile = Callable[[str, str], Awaitable[Optional[float]]]


async def run(call: _pinnace.Call[T]) -> T:
    """Runs a call in the background; cancelling the task drops the Rust future."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def done(value: Any, error: Optional[BaseException]) -> None:
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            pass

    task = call.start(done)
    try:
        return await future  # type: ignore[no-any-return]
    finally:
        task.cancel()


class AsyncStream(AsyncIterator[T], Generic[T]):
    """Events of a watch, or lines of a log: an async iterator. It is an async context manager;
    ``close`` ends it."""

    def __init__(self, native: _pinnace.Stream[Any], make: Callable[[Any], T]) -> None:
        self._native = native
        self._make = make

    async def __anext__(self) -> T:
        item = await run(self._native.next())
        if item is None:
            raise StopAsyncIteration
        return self._make(item)

    async def __aenter__(self) -> AsyncStream[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, also for a task that waits for its next item."""
        self._native.close()


class AsyncServing(_types.ServingInfo):
    """An engine that listens; an async context manager."""

    async def __aenter__(self) -> AsyncServing:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops listening: watches end, requests in flight get ten seconds to finish. Closing it
        again, or after the engine, does nothing."""
        try:
            await run(self._native.stop())
        except ClosedError:
            pass


class AsyncEngine:
    """A cluster in this process, for asyncio: the verbs of :class:`Engine` as coroutines.

    It starts with ``async with``, or when it is awaited. Any number of tasks may use it at once;
    a task that is cancelled takes its call with it.

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
    :param plugins_dir: where CSI drivers register, by Unix sockets, whose paths have 107 bytes at
        most: a directory for one engine, such as ``/var/lib/kubelet/plugins_registry``; in the
        ``data_dir`` without it.
    :param authorizers: functions that say who may do what, beside RBAC.
    :param token_authenticators: functions that know bearer tokens, beside those of the cluster.
    :param authenticators: functions that know who makes a request over HTTPS when neither a
        certificate nor a token says that.
    :param audit: a function that hears what becomes of requests.

    >>> import asyncio, pinnace
    >>> async def main():
    ...     async with pinnace.AsyncEngine(runtime="simulated") as engine:
    ...         namespace = await engine.get("namespaces/default")
    ...         return namespace["status"]["phase"]
    >>> asyncio.run(main())
    'Active'
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
        self._config = config
        self._started: Optional[_pinnace.Engine] = None
        self._closed = False

    @property
    def _native(self) -> _pinnace.Engine:
        if self._started is None:
            raise ClosedError(
                "the engine has not been started: use it with `async with`, or await it",
                reason="ServiceUnavailable",
                code=503,
            )
        return self._started

    async def start(self) -> AsyncEngine:
        """Starts the engine, unless it has been started."""
        if self._started is None:
            self._started = await run(_pinnace.start(self._config))
        return self

    def __await__(self) -> Generator[Any, None, AsyncEngine]:
        return self.start().__await__()

    async def __aenter__(self) -> AsyncEngine:
        return await self.start()

    async def __aexit__(
        self,
        cls: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the engine: everything stops, and its threads are joined. Closing it again does
        nothing; any other use afterwards raises :class:`ClosedError`."""
        if self._closed or self._started is None:
            return
        _callback.check_outside()
        await run(self._native.close())
        self._closed = True

    @property
    def runtime(self) -> RuntimeInfo:
        """Which runtime runs the containers, and why that one was taken."""
        return RuntimeInfo(*self._native.runtime())

    async def apply(self, manifest: Manifest, namespace: str = "default") -> List[Applied]:
        """Makes the objects of a manifest, or changes those that exist to what it says: any number
        of YAML or JSON documents, or objects as dicts.

        :raises ManifestError: with line and column; nothing has been done.
        :raises PinnaceError: for the first object that is refused; those before it are applied.
        """
        applied = await run(self._native.apply(namespace, _types.manifest_text(manifest)))
        return [Applied(*one) for one in applied]

    async def delete_manifest(self, manifest: Manifest, namespace: str = "default") -> None:
        """Deletes the objects that a manifest names, in the opposite order; those that are gone
        already are passed over."""
        await run(self._native.delete_manifest(namespace, _types.manifest_text(manifest)))

    async def get(self, object: str, namespace: str = "default") -> Object:
        """Reads an object.

        :raises NotFoundError: when there is none.
        """
        return await run(self._native.get(namespace, object))

    async def list(
        self,
        kind: str,
        namespace: str = "default",
        *,
        labels: Selector = None,
        fields: Selector = None,
        all_namespaces: bool = False,
    ) -> List[Object]:
        """Lists the objects of a kind, by namespace and name.
        """
        scope = _types.scope(namespace, all_namespaces)
        labels, fields = _types.selector_text(labels), _types.selector_text(fields)
        return await run(self._native.list(scope, kind, labels, fields))

    async def watch(
        self,
        kind: str,
        namespace: str = "default",
        *,
        labels: Selector = None,
        fields: Selector = None,
        all_namespaces: bool = False,
    ) -> AsyncStream[WatchEvent]:
        """Watches the objects of a kind: first what is there, as ``ADDED``, then what happens.

        ``async for event, object in await engine.watch("pods"): ...``
        """
        scope = _types.scope(namespace, all_namespaces)
        labels, fields = _types.selector_text(labels), _types.selector_text(fields)
        return AsyncStream(await run(self._native.watch(scope, kind, labels, fields)), _types.event)

    async def create(self, object: Object, namespace: str = "default") -> Object:
        """Creates an object; ``namespace`` is for one that names none.

        :raises AlreadyExistsError: when there is one of that name.
        """
        return await run(self._native.create(namespace, json.dumps(object)))

    async def update(self, object: Object, namespace: str = "default") -> Object:
        """Replaces an object.

        :raises ConflictError: when it has changed since it was read.
        """
        return await run(self._native.update(namespace, json.dumps(object)))

    async def update_status(self, object: Object, namespace: str = "default") -> Object:
        """Replaces the status of an object; its spec stays as it is."""
        return await run(self._native.update_status(namespace, json.dumps(object)))

    async def patch(
        self,
        object: str,
        patch: Any,
        type: PatchType = "merge",
        namespace: str = "default",
    ) -> Object:
        """Changes an object: by a partial object (``merge``), one whose lists are merged by their
        keys (``strategic``) or applied by the server (``apply``), or by operations (``json``)."""
        return await run(self._native.patch(namespace, object, type, json.dumps(patch)))

    async def delete(
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
        return await run(self._native.delete(namespace, object, propagation, grace_period_seconds))

    async def scale(self, object: str, replicas: int, namespace: str = "default") -> None:
        """Sets how many replicas there should be."""
        await run(self._native.scale(namespace, object, replicas))

    async def wait(
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
        await run(self._native.wait(namespace, object, condition, timeout))

    @overload
    async def logs(
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
    async def logs(
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
    ) -> AsyncStream[str]: ...

    async def logs(
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
    ) -> Union[str, AsyncStream[str]]:
        """The log of a container of a pod; with ``follow`` its lines, until the container ends.

        :param container: may be left out for a pod that has one.
        :param previous: of the attempt before the last restart.
        :param since: only what is not older than so many seconds.
        """
        call = self._native.logs(
            namespace, pod, container, follow, previous, tail_lines, since, timestamps, limit_bytes
        )
        log = await run(call)
        return AsyncStream(log, str) if follow else str(log)

    async def rollout_status(self, deployment: str, namespace: str = "default") -> RolloutStatus:
        """How far the rollout of a Deployment is."""
        return RolloutStatus(*await run(self._native.rollout_status(namespace, deployment)))

    async def rollout_undo(self, deployment: str, revision: int = 0, namespace: str = "default") -> None:
        """Goes back to a revision of a Deployment, or to the one before if ``revision`` is 0."""
        await run(self._native.rollout_undo(namespace, deployment, revision))

    async def rollout_restart(self, deployment: str, namespace: str = "default") -> None:
        """Replaces all pods of a Deployment by its strategy."""
        await run(self._native.rollout_restart(namespace, deployment))

    async def rollout_pause(self, deployment: str, namespace: str = "default") -> None:
        """Lets changes of a Deployment wait until ``rollout_resume``."""
        await run(self._native.rollout_pause(namespace, deployment, True))

    async def rollout_resume(self, deployment: str, namespace: str = "default") -> None:
        """Takes back ``rollout_pause``."""
        await run(self._native.rollout_pause(namespace, deployment, False))

    async def import_image(self, path: Union[str, os.PathLike[str]]) -> List[str]:
        """Imports every image of an OCI archive or layout, so that pods can use it without a
        registry. Gives the names under which they may ask for them."""
        return await run(self._native.import_image(path))

    async def serve(
        self,
        address: Optional[str] = None,
        *,
        unix: Union[str, os.PathLike[str], None] = None,
        names: Sequence[str] = (),
    ) -> AsyncServing:
        """Serves the API as Kubernetes does, for kubectl and every other client. Nothing listens
        before this is called; it ends when the result is closed, and with the engine.

        :param address: where to serve HTTPS, as ``127.0.0.1:6443``; port 0 takes a free one.
        :param unix: the path of a Unix socket, without TLS: the owner of this process and root may
            do everything over it.
        :param names: more names and addresses for the certificate.
        """
        native = await run(self._native.serve(address, unix, [*names]))
        return AsyncServing(native)

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> str:
        """A kubeconfig for what the engine serves, with a key and a certificate that make its
        holder ``user``, a member of ``groups``, for a year. The group ``system:masters`` may do
        everything.

        :raises ConfigError: when nothing serves HTTPS.
        """
        return self._native.kubeconfig(user, [*groups])

    async def explain(self, pod: str, namespace: str = "default") -> Object:
        """Why a pod is where it is, or nowhere: the nodes that it may go to and their scores
        (``fitting``, the best first), those that it may not go to and what every plugin has
        against them (``excluded``), what the pod's condition says (``message``) and what would
        have to change (``relaxations``, the cheapest first).

        :raises NotFoundError: when there is no such pod.
        """
        return await run(self._native.explain(namespace, pod))

    async def explain_what_if(self, pod: Object, namespace: str = "default") -> Object:
        """As :meth:`explain`, for a pod that need not exist: what would become of it.
        ``namespace`` is for one that names none.
        """
        return await run(self._native.explain_what_if(namespace, json.dumps(pod)))

    async def controller(
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

        The coroutine runs on the event loop of the caller, ``workers`` at a time and never twice at
        once for one object; it compares what is with what should be, for the object may even be gone. It
        returns ``None``, or seconds after which it wants to be called again. If it raises, the
        traceback goes to the logger ``pinnace.controller.NAME`` and it is called again, later each
        time.
        """
        name = name or str(getattr(reconcile, "__name__", kind))
        guarded = _reconcile.guard_async(name, reconcile, asyncio.get_running_loop())
        native = self._native.controller(name, kind, [*owns], workers, guarded)
        return Controller(await run(native))
