"""Streams with kubectl 1.20, which speaks SPDY."""

import pytest
from test_kubectl_pods import (  # noqa: F401
    RUNTIME,
    echo,
    pytestmark,
    test_attach,
    test_cp,
    test_exec,
    test_host_port,
    test_logs,
    test_port_forward,
    test_top,
)


@pytest.fixture(scope="module")
def kubectl_path(older_kubectl):
    return older_kubectl
