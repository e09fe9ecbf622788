#!/bin/sh
# Runs the tests of the package in a virtual environment of its own: pytest with the examples of
# docstrings and README, and mypy. See make-venv.sh for PYTHON and VENV; arguments go to pytest.
set -eu
cd "$(dirname "$0")"
VENV=${VENV:-target/venv}
case $VENV in /*) ;; *) VENV=$(cd .. && pwd)/$VENV ;; esac
export VENV

sh make-venv.sh
"$VENV/bin/python" -m mypy --strict -p pinnace
"$VENV/bin/python" -m pytest --quiet "$@"
