#!/usr/bin/env bash
# Installs what `make test` and `make bench` compare with and link through, as Debian packages by
# name. The library itself needs none of them: only the Rust toolchain, and gcc to link.
#
# Where everything is there already, this does nothing and needs neither root nor a network.
set -euo pipefail

# The LLVM versions whose bitcode the tests read and whose tools are the reference for it.
versions="14 15 16 19 22"

packages="gcc g++ make ninja-build python3 binutils libc6-dev procps valgrind mold llvm-22-dev lld-19 lld-22"
for v in $versions; do
    packages+=" llvm-$v llvm-$v-linker-tools clang-$v"
done

# Prints those of the packages that are not installed.
missing() {
    local p
    for p in $packages; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || printf '%s ' "$p"
    done
}

if ! command -v dpkg-query >/dev/null; then
    echo "install-test-deps: not a Debian system; install by hand: $packages" >&2
    exit 0
fi

want=$(missing)
if [ -z "$want" ]; then
    exit 0
fi

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-test-deps: not root and no sudo; please install: $want" >&2
        exit 1
    fi
    as_root="sudo"
fi

export DEBIAN_FRONTEND=noninteractive
# A mirror that answers badly once should not fail a run; one that is down should, and soon.
for try in 1 2 3; do
    echo "install-test-deps: installing $want(try $try)"
    $as_root apt-get -qq update || true
    # shellcheck disable=SC2086 # the list is meant to be split
    if $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends $want >/dev/null; then
        break
    fi
    sleep $((try * 5))
done

want=$(missing)
if [ -n "$want" ]; then
    echo "install-test-deps: still missing: $want" >&2
    exit 1
fi
