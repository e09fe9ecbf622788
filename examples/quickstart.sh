#!/bin/sh
# The main job: the ten lines on simulated nodes, then the story in real containers (or, with
# RUNTIME=process, in processes of this machine), in Rust, Python and C.
set -eu
cd "$(dirname "$0")/.."
runtime=${RUNTIME:-containerd}
cargo=${CARGO:-cargo}

say() { printf '\n== %s\n' "$*"; }

# Runs a command beside a containerd of its own, or with another runtime as it is.
beside() {
    if [ "$runtime" = containerd ]; then
        target/debug/with-containerd "$@"
    else
        PINNACE_RUNTIME=$runtime "$@"
    fi
}

say 'building'
"$cargo" build --quiet -p pinnace-examples -p pinnace-test-harness

say 'ten lines of Rust, three simulated nodes'
target/debug/quickstart

say "the story in Rust, runtime $runtime"
beside target/debug/story

if [ "${LANGUAGES:-all}" = rust ]; then
    exit 0
fi

say "the story in Python, runtime $runtime"
sh bindings-python/make-venv.sh
beside target/venv/bin/python examples/python/story.py

say "the story in C, runtime $runtime"
make --no-print-directory -C examples/c
beside examples/c/build/story
