import pickle
import subprocess
import sys
import threading
import time

import pytest
from conftest import config_map

import pinnace

DEADLINE = 30


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE
    )


def test_a_closed_engine_says_so_and_closes_again():
    engine = pinnace.Engine(runtime="simulated")
    engine.close()
    engine.close()
    with pytest.raises(pinnace.ClosedError):
        engine.list("pods")
    assert "closed" in repr(engine)


def test_objects_outlive_an_engine_on_disk(tmp_path):
    with pinnace.Engine(runtime="simulated", data_dir=tmp_path / "data") as engine:
        engine.create(config_map("kept"))
        with pytest.raises(pinnace.PinnaceError):
            pinnace.Engine(runtime="simulated", data_dir=tmp_path / "data")
    with pinnace.Engine(runtime="simulated", data_dir=tmp_path / "data") as engine:
        assert engine.get("cm/kept")["metadata"]["name"] == "kept"


def test_drivers_register_where_the_host_says(tmp_path):
    plugins = tmp_path / "plugins"
    with pinnace.Engine(runtime="process", plugins_dir=plugins):
        deadline = time.monotonic() + DEADLINE
        while not plugins.is_dir():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("wrong", [{"runtime": "none"}, {"on_shutdown": "x"}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(pinnace.ConfigError):
        pinnace.Engine(**{"runtime": "simulated", **wrong})


def test_many_threads_use_one_engine(engine):
    def work(thread):
        for number in range(20):
            engine.create(config_map(f"t{thread}-{number}"))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(o["metadata"]["name"].startswith("t") for o in engine.list("configmaps")) == 160


def test_closing_ends_the_waits_of_other_threads():
    engine = pinnace.Engine(runtime="simulated")
    events = engine.watch("pods")
    ended = []

    def wait():
        with pytest.raises(pinnace.ClosedError):
            engine.wait("pods/none", "Ready", timeout=600)
        ended.append("wait")

    def watch():
        try:
            ended.extend(events)
        except pinnace.ClosedError:
            pass
        ended.append("watch")

    threads = [threading.Thread(target=target) for target in (wait, watch)]
    for thread in threads:
        thread.start()
    engine.close()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(ended) == ["wait", "watch"]


@pytest.mark.parametrize(
    "call",
    [
        "engine.wait('pods/none', 'Ready', timeout=600)",
        "next(engine.watch('pods'))",
    ],
)
def test_ctrl_c_interrupts_what_waits(call):
    code = f"""
import os, signal, threading, pinnace
with pinnace.Engine(runtime="simulated") as engine:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", engine.get("ns/default")["kind"])
"""
    ended = run_python(code)
    assert ended.stdout == "interrupted Namespace\n", ended.stderr


def test_a_fork_is_told_that_the_engine_is_its_parents():
    code = """
import os, pinnace
with pinnace.Engine(runtime="simulated") as engine:
    child = os.fork()
    if child == 0:
        try:
            engine.list("pods")
        except pinnace.ConfigError as error:
            os._exit(7 if "forked" in error.message else 1)
        os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), engine.get("ns/default")["kind"])
"""
    ended = run_python(code)
    assert ended.stdout == "7 Namespace\n", ended.stderr


def test_a_program_that_forgets_to_close_ends_all_the_same():
    code = """
import pinnace
engine = pinnace.Engine(runtime="simulated")
engine.controller("pods", lambda namespace, name: 0.01)
events = engine.watch("pods")
print("end")
"""
    ended = run_python(code)
    assert (ended.returncode, ended.stdout) == (0, "end\n"), ended.stderr


@pytest.mark.parametrize("asked", [False, True])
def test_logs_of_the_engine_go_to_logging_only_when_asked(asked):
    code = f"""
import logging, threading, pinnace
told, tried = threading.Event(), threading.Event()
class Handler(logging.Handler):
    def emit(self, record):
        if record.name == "pinnace.reconcile.controller" and "no coffee" in record.getMessage():
            told.set()
logging.basicConfig(level=5, handlers=[Handler()])
runs = []
def reconcile(namespace, name):
    runs.append(name)
    if len(runs) > 2:
        tried.set()
    raise ValueError("no coffee")
if {asked}:
    pinnace.log_to_logging(logging.DEBUG)
with pinnace.Engine(runtime="simulated") as engine:
    engine.controller("namespaces", reconcile)
    tried.wait({DEADLINE})
print(told.wait({DEADLINE}) if {asked} else told.is_set())
"""
    ended = run_python(code)
    assert ended.stdout == f"{asked}\n", ended.stderr


def test_an_error_survives_pickling():
    error = pinnace.NotFoundError("gone", reason="NotFound", code=404, object="pods/a")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.reason, copy.code, copy.object) == (
        pinnace.NotFoundError,
        "NotFound",
        404,
        "pods/a",
    )


def test_a_scheduler_configuration_is_taken_or_refused():
    about = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    with pinnace.Engine(runtime="simulated", scheduler=about) as engine:
        assert engine.list("nodes")
    with pytest.raises(pinnace.PinnaceError, match="no kind"):
        pinnace.Engine(runtime="simulated", scheduler={**about, "kind": "Other"})


def test_an_admission_configuration_is_taken_or_refused():
    pods = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline"},
    }
    about = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": pods}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]},
    }
    with pinnace.Engine(runtime="simulated", admission_configuration=about) as engine:
        with pytest.raises(pinnace.ForbiddenError, match="violates PodSecurity"):
            engine.apply(pod)
    without = {"admission_configuration": about, "disable_admission": ["PodSecurity"]}
    with pinnace.Engine(runtime="simulated", **without) as engine:
        engine.apply(pod)
    with pytest.raises(pinnace.PinnaceError, match="expected AdmissionConfiguration"):
        pinnace.Engine(runtime="simulated", admission_configuration=pods)
    with pytest.raises(pinnace.PinnaceError, match="there is no plugin \"Quota\""):
        pinnace.Engine(runtime="simulated", disable_admission=["Quota"])
