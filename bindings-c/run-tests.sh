#!/bin/sh
# Tests libpinnace: the committed header, the header alone as C and C++, every function from C, and
# programs that link what `make install` has laid out. Ends with a line `N passed, N failed`.
# VALGRIND=1 runs the functions under valgrind.
set -eu
cd "$(dirname "$0")"
root=$(cd .. && pwd)
CARGO=${CARGO:-cargo}
CC=${CC:-cc}
CXX=${CXX:-c++}
built=${CARGO_TARGET_DIR:-$root/target}/debug
warnings='-Wall -Wextra -Werror'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# Runs a command as a test.
check() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        cat "$work/out"
        echo "FAILED $name"
        failed=$((failed + 1))
    fi
}

"$CARGO" build --quiet -p pinnace-c

check 'the header is what the sources say' "$CARGO" test --quiet -p pinnace-c --test header
for standard in c11 c17; do
    # shellcheck disable=SC2086
    check "the header alone as $standard" \
        "$CC" -x c -std=$standard -pedantic $warnings -fsyntax-only include/pinnace.h
done
for standard in c++17 c++20; do
    # shellcheck disable=SC2086
    check "the header alone as $standard" \
        "$CXX" -x c++ -std=$standard -pedantic $warnings -fsyntax-only include/pinnace.h
done

prefix=$work/stage/usr
check 'make install' make PROFILE=dev CARGO="$CARGO" DESTDIR="$work/stage" PREFIX=/usr install

# shellcheck disable=SC2086
check 'the tests compile' "$CC" -std=gnu11 -g $warnings -I"$prefix/include" tests/*.c \
    -L"$prefix/lib" -lpinnace -lpthread -o "$work/tests"
export LD_LIBRARY_PATH="$prefix/lib"
if [ -x "$work/tests" ]; then
    runner=
    if [ "${VALGRIND:-0}" = 1 ]; then
        runner='valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=1 --suppressions=tests/valgrind.supp'
    fi
    if timeout 600 $runner "$work/tests" >"$work/tests.out" 2>&1; then ended=0; else ended=$?; fi
    grep -v '^[0-9]* passed, [0-9]* failed$' "$work/tests.out" || true
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$work/tests.out")
    if [ -n "$counts" ]; then
        passed=$((passed + ${counts% *}))
        failed=$((failed + ${counts#* }))
        [ "$ended" = 0 ] || [ "${counts#* }" != 0 ] || failed=$((failed + 1))
    else
        echo "FAILED the tests ended with status $ended"
        failed=$((failed + 1))
    fi
fi

# What pkg-config and CMake find, in a place of its own.
check 'make install elsewhere' make PROFILE=dev CARGO="$CARGO" PREFIX="$work/here" install
export PKG_CONFIG_PATH="$work/here/lib/pkgconfig"
export LD_LIBRARY_PATH="$work/here/lib"
# shellcheck disable=SC2046
check 'pkg-config links the shared library' \
    "$CC" tests/consumer/main.c $(pkg-config --cflags --libs pinnace) -o "$work/by-pkg-config"
check 'what pkg-config links runs' "$work/by-pkg-config"
if command -v cmake >/dev/null; then
    check 'CMake finds the package' cmake -S tests/consumer -B "$work/cmake" \
        -DCMAKE_PREFIX_PATH="$work/here" -DCMAKE_C_COMPILER="$CC"
    check 'CMake builds with it' cmake --build "$work/cmake"
    check 'what CMake links runs' "$work/cmake/shared"
    check 'what CMake links statically runs' env -u LD_LIBRARY_PATH "$work/cmake/static"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
