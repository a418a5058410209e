#!/usr/bin/env bash
# Builds ripgrep twice: as anybody would, and with link-time optimisation through the given plugin.
#
#   scripts/build-ripgrep.sh PLUGIN [EXTRA-RUSTC-FLAG...]
#
# In:  the crate of the version below with the dependencies of its own lock file, fetched by cargo.
# Out: $LTO_BUILD_DIR/ripgrep/{plain,lto}/bin/rg. The plain one is built once; the other is linked
#      again each time, since the plugin is what is being tried.
set -euo pipefail

version=15.2.0
top=$(cd "$(dirname "$0")/.." && pwd)
plugin=$(realpath "$1")
shift
build=${LTO_BUILD_DIR:-$top/build}/ripgrep
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$build"
exec 9>"$build/.lock"
flock 9

# What an outer cargo or a user set for other builds must not leak into these two.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR
export CARGO_PROFILE_RELEASE_DEBUG=0

# With --target, the flags reach the program but not build scripts and procedural macros.
install() {
    local name=$1 try
    for try in 1 2 3; do
        cargo install --quiet --locked --force --target "$host" --version "$version" \
            --root "$build/$name" --target-dir "$build/$name/target" ripgrep && return 0
        # A link that fails will fail again; only fetching is worth another try.
        [ -e "$build/$name/target/$host/release/deps" ] && return 1
        sleep $((try * 5))
    done
    return 1
}

if [ "$("$build/plain/bin/rg" --version 2>/dev/null | head -n 1 | cut -d' ' -f2)" != "$version" ]; then
    install plain
fi

rm -f "$build/lto/target/$host/release"/{rg,deps/rg-*} "$build/lto/bin/rg"
RUSTFLAGS="-Clinker-plugin-lto=$plugin -Clinker=gcc -Clink-arg=-fuse-ld=bfd $*" install lto
