import asyncio
import inspect

import pytest
from conftest import WEB, config_map

import pinnace
from pinnace import _pinnace

DEADLINE = 30


def run(main):
    async def started():
        async with pinnace.AsyncEngine(runtime="simulated", nodes=2) as engine:
            await asyncio.wait_for(main(engine), DEADLINE)

    asyncio.run(started())


def test_the_main_job_in_coroutines():
    async def main(engine):
        await engine.apply(WEB)
        await engine.wait("deployments/web", "Available")
        await engine.scale("deployments/web", 5)
        await engine.wait("deployments/web", "jsonpath={.status.availableReplicas}=5")
        assert len(await engine.list("pods", labels={"app": "web"})) == 5
        assert (await engine.rollout_status("deployments/web")).done

    run(main)


def test_a_thousand_calls_at_once():
    async def main(engine):
        await asyncio.gather(*(engine.create(config_map(f"a{n}")) for n in range(1000)))
        assert len(await engine.list("configmaps", labels=None)) >= 1000

    run(main)


def test_a_task_that_is_cancelled_takes_its_call_with_it():
    async def main(engine):
        waiting = asyncio.create_task(engine.wait("pods/none", "Ready", timeout=600))
        await engine.list("pods")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await engine.list("pods") == []

    run(main)


def test_a_watch_is_an_async_iterator_that_closes():
    async def main(engine):
        async with await engine.watch("configmaps", fields="metadata.name=a") as events:
            await engine.create(config_map("a"))
            assert (await events.__anext__()).type == "ADDED"
            waiting = asyncio.create_task(events.__anext__())
            await engine.list("pods")
        with pytest.raises(StopAsyncIteration):
            await events.__anext__()
        with pytest.raises((StopAsyncIteration, RuntimeError)):
            await waiting

    run(main)


def test_errors_are_the_same_as_in_blocking_code():
    async def main(engine):
        with pytest.raises(pinnace.NotFoundError):
            await engine.get("pods/none")
        with pytest.raises(pinnace.TimeoutError):
            await engine.wait("pods/none", "Ready", timeout=0.01)

    run(main)


def test_an_engine_may_be_awaited_and_must_be_started():
    async def main():
        unstarted = pinnace.AsyncEngine(runtime="simulated")
        with pytest.raises(pinnace.ClosedError):
            await unstarted.list("pods")
        engine = await unstarted
        await engine.close()
        await engine.close()
        with pytest.raises(pinnace.ClosedError):
            await engine.list("pods")

    asyncio.run(main())


def test_closing_ends_the_calls_of_other_tasks():
    async def main():
        engine = await pinnace.AsyncEngine(runtime="simulated")
        waiting = asyncio.create_task(engine.wait("pods/none", "Ready", timeout=600))
        await engine.list("pods")
        await engine.close()
        with pytest.raises(pinnace.ClosedError):
            await waiting

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def public(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


def test_both_faces_have_the_same_verbs_with_the_same_parameters():
    assert public(pinnace.AsyncEngine) - {"start"} == public(pinnace.Engine)
    for name in public(pinnace.Engine) - {"runtime"}:
        one, other = (
            list(inspect.signature(getattr(face, name)).parameters)
            for face in (pinnace.Engine, pinnace.AsyncEngine)
        )
        assert one == other, name


def test_every_verb_of_the_native_module_is_typed_and_wrapped():
    import ast
    from pathlib import Path

    stub = ast.parse((Path(pinnace.__file__).parent / "_pinnace.pyi").read_text())
    typed = {
        node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for node in stub.body
        if isinstance(node, ast.ClassDef)
    }
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    for name, value in vars(_pinnace).items():
        if name.startswith("_"):
            continue
        if inspect.isclass(value):
            assert public(value) == typed.pop(name), name
        else:
            functions.remove(name)
    assert typed == {}
    assert functions == set()
    assert public(_pinnace.Engine) <= public(pinnace.Engine)
