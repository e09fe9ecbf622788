#!/bin/sh
# Makes a virtual environment with the package in it, as a dev build. PYTHON chooses the
# interpreter, VENV the place (below the root unless absolute).
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
VENV=${VENV:-target/venv}
case $VENV in /*) ;; *) VENV=$(cd .. && pwd)/$VENV ;; esac

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -c 'import maturin, pytest, mypy' 2>/dev/null ||
    "$VENV/bin/pip" install --quiet 'maturin>=1.9,<2' 'pytest>=8' 'mypy>=1.15'
PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV "$VENV/bin/maturin" develop --quiet
