import pytest
from conftest import config_map

import pinnace


def engine_with(*rules):
    return pinnace.Engine(runtime="simulated", nodes=0, admission=rules)


def test_a_function_refuses_and_says_why():
    def refuse(request):
        assert request["operation"] == "CREATE"
        if request["object"]["metadata"]["name"] == "b":
            return "no b"

    rule = pinnace.Admission(refuse, resources=["configmaps"], operations=["CREATE"])
    with engine_with(rule) as engine:
        engine.create(config_map("a"))
        with pytest.raises(pinnace.ForbiddenError, match="no b"):
            engine.create(config_map("b"))


def test_a_function_changes_what_is_written():
    def change(request):
        made = request["object"]
        if made["metadata"]["name"] != "a":
            return None
        made["data"]["by"] = request["userInfo"]["username"]
        return made

    with engine_with(pinnace.Admission(change, ["configmaps"], mutates=True)) as engine:
        assert engine.create(config_map("a", a="1"))["data"]["by"] == "pinnace:host"


def test_what_raises_refuses():
    def broken(request):
        if request["object"]["metadata"]["name"] == "a":
            raise ValueError("broken")

    with engine_with(pinnace.Admission(broken, ["configmaps"])) as engine:
        with pytest.raises(pinnace.PinnaceError, match="failed calling admission function"):
            engine.create(config_map("a"))
