#!/bin/sh
# Runs every benchmark, prints a table and writes target/bench.json: a list of
# {name, value, unit, target, met}, some with upstream's own figure. Arguments choose benchmarks whose names contain them.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

# Each benchmark prints a line of JSON per figure; whatever else it prints is for people.
run() {
    package=$1 bench=$2
    shift 2
    "$cargo" bench --quiet -p "$package" --bench "$bench" -- "$@" | tee -a "$lines" | grep -v '^{' || true
}

run pinnace engine "$@"
run pinnace workloads "$@"
run pinnace-store memory "$@"
run pinnace-store disk "$@"
run pinnace-http http "$@"
run pinnace-scheduler decide "$@"
run pinnace-scheduler bind "$@"
run pinnace-node start "$@"
run pinnace-runtime containerd "$@"

python3 - "$lines" <<'PYTHON'
import json, pathlib, sys

figures = []
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    if line.startswith("{"):
        figures.append(json.loads(line))
target = pathlib.Path("target")
target.mkdir(exist_ok=True)
(target / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
width = max((len(figure["name"]) for figure in figures), default=0)
for figure in figures:
    met = {True: "met", False: "MISSED", None: ""}[figure["met"]]
    bound = "" if figure["target"] is None else f"{figure['target']:>12g}"
    print(f"{figure['name']:<{width}} {figure['value']:>14.3f} {figure['unit']:<6} {bound:>12} {met}")
PYTHON
