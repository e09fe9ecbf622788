#!/bin/sh
# Installs the Debian packages that building and testing need, those that are missing. Without the
# right to do so it says what is missing and goes on: tests that need more than there is say that
# they skip.
set -eu

wanted='build-essential pkg-config python3 python3-venv cmake libcjson-dev iproute2 openssl protobuf-compiler busybox-static'
if [ "${RUNTIME:-containerd}" != process ]; then
    wanted="$wanted containerd runc docker-registry"
fi

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done

if ! command -v cargo >/dev/null 2>&1; then
    echo 'cargo is missing: install Rust 1.90 or newer, see https://rustup.rs' >&2
    exit 1
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages, to be installed by root:$missing" >&2
    exit 0
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Debian starts a containerd of its own when the package is installed; the tests run theirs.
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
