#!/bin/sh
# Builds the package into a virtual environment of its own and runs its tests: pytest with the
# examples of docstrings and README, and mypy. PYTHON and VENV choose interpreter and place.
set -eu
cd "$(dirname "$0")"
root=$(cd .. && pwd)
PYTHON=${PYTHON:-python3}
VENV=${VENV:-target/venv}
case $VENV in /*) ;; *) VENV=$root/$VENV ;; esac

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -c 'import maturin, pytest, mypy' 2>/dev/null ||
    "$VENV/bin/pip" install --quiet 'maturin>=1.9,<2' 'pytest>=8' 'mypy>=1.15'

PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV maturin develop --quiet
"$VENV/bin/python" -m mypy --strict -p pinnace
"$VENV/bin/python" -m pytest --quiet "$@"
