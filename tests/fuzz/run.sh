#!/bin/sh
# Fuzzes everything that reads bytes from outside: `run.sh [SECONDS [TARGET…]]`, 20 seconds a target
# unless said otherwise. What is found lands in target/fuzz/found, with the command that shows it
# again; CORPUS=DIR keeps what has been learned for the next run, FUZZ_SEED=0 takes another way each
# time. Ends with `N passed, N failed`.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
seconds=${1:-20}
[ $# = 0 ] || shift
all='json yaml protobuf selector quantity schedule cel json_patch merge_patch strategic_patch apply request spdy'
targets=${*:-$all}
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$root/target}/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=${CORPUS:-$work/corpus}
found=$target_dir/found
mkdir -p "$found"

# As cargo-fuzz does, on a stable compiler: counters at every branch, and the operands of
# comparisons. With --target the flags are not for build scripts and macros.
RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares' \
    "${CARGO:-cargo}" build --quiet --target "$host" --target-dir "$target_dir"
program=$target_dir/$host/debug/pinnace-fuzz

fuzz() {
    mkdir -p "$corpus/$1"
    # Room in time and memory for what is allowed, and an end to what is not.
    FUZZ_TARGET=$1 timeout "$((seconds + 60))" "$program" "$corpus/$1" "seeds/$1" -dict=words.dict \
        -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$found/$1-" -print_final_stats=1 >"$work/$1.out" 2>&1
}

passed=0 failed=0
judge() {
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1.out")
    if [ "$2" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        echo "fuzz $1: $runs inputs, nothing found"
        passed=$((passed + 1))
    else
        tail -n 40 "$work/$1.out"
        echo "FAILED fuzz $1: FUZZ_TARGET=$1 $program $found/$1-…"
        failed=$((failed + 1))
    fi
}

# Two at a time, one a core.
set -- $targets
while [ $# -gt 0 ]; do
    first=$1 second=${2:-}
    shift
    [ $# = 0 ] || shift
    fuzz "$first" & first_pid=$!
    if [ -n "$second" ]; then fuzz "$second" & second_pid=$!; fi
    if wait "$first_pid"; then judge "$first" 0; else judge "$first" 1; fi
    if [ -n "$second" ]; then
        if wait "$second_pid"; then judge "$second" 0; else judge "$second" 1; fi
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
