#!/bin/sh
# Runs every benchmark, prints a table and writes target/bench.json: a list of
# {name, value, unit, target, met}, some with upstream's own figure. Arguments choose benchmarks whose names contain them.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

# All are built at once: built by package, each would have other features of the crates below, and
# those would be compiled again for each.
programs=$("$cargo" bench --workspace --bench '*' --no-run --message-format json-render-diagnostics |
    python3 -c '
import json, os, sys

for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["kind"] == ["bench"]:
        print(message["target"]["name"], os.path.dirname(message["manifest_path"]), message["executable"])
')

# Each benchmark prints a line of JSON per figure; whatever else it prints is for people.
run() {
    folder=$1 bench=$2
    shift 2
    program=$(echo "$programs" | sed -n "s|^$bench $(pwd)/core/$folder ||p")
    [ -n "$program" ] || { echo "no benchmark $bench in core/$folder" >&2; exit 1; }
    (cd "core/$folder" && "$program" --bench "$@") |
        tee -a "$lines" | grep -v '^{' || true
}

run engine engine "$@"
run engine workloads "$@"
run engine custom "$@"
run store memory "$@"
run store disk "$@"
run http http "$@"
run server rbac "$@"
run server admission "$@"
run scheduler decide "$@"
run scheduler bind "$@"
run scheduler perf "$@"
run node start "$@"
run runtime containerd "$@"

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
    upstream = figure.get("upstream")
    beside = "" if upstream is None else f"upstream: {upstream:g}"
    print(f"{figure['name']:<{width}} {figure['value']:>14.3f} {figure['unit']:<6} {bound:>12} {met:<6} {beside}".rstrip())
PYTHON
