#!/usr/bin/env bash
# Compiles RocksDB to bitcode, for benchmarks and for comparing with LLVM at the size of a real program.
#
#   scripts/build-rocksdb.sh [thin] [thin-g] [full]        default: thin
#
# In:  the C++ sources of RocksDB and snappy that cargo unpacks from the crate librocksdb-sys, which
#      scripts/inputs/rocksdb/Cargo.lock pins, and a main beside it.
# Out: $LTO_BUILD_DIR/rocksdb/{thin,thin-g,full}/*.o: one bitcode module a file (some 320), by clang
#      with -O2 -fPIC and -flto=thin, the same with -g, or -flto. To be given to
#      scripts/parity-thinlink.sh BIN build/rocksdb, scripts/parity-objects.sh BIN build/rocksdb and
#      scripts/bench-index.sh BIN build/rocksdb/thin.
#
# CLANG  the compiler, default clang++-22
# FILES  stop after so many files of each kind, to try something on a part
# JOBS   how many compilers at once, default as many as there are processors
#
# It takes a quarter of an hour of two processors for each kind. What is there and still right is kept,
# so that a call that was interrupted goes on where it stopped.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=${LTO_BUILD_DIR:-$top/build}
clang=${CLANG:-clang++-22}
jobs=${JOBS:-$(nproc)}
# Every path below is relative, so that no module's source name depends on where this tree lies.
mkdir -p "$build/rocksdb"
cd "$build/rocksdb"
exec 9>.lock
flock 9
command -v "$clang" >/dev/null || { echo "build-rocksdb: $clang is not installed (scripts/install-test-deps.sh)" >&2; exit 1; }

lock_hash=$(sha256sum "$top/scripts/inputs/rocksdb/Cargo.lock" | cut -c1-16)
if [ "$(cat sources/.stamp 2>/dev/null)" != "$lock_hash" ]; then
    rm -rf sources
    for try in 1 2 3; do
        cargo vendor --quiet --locked --versioned-dirs \
            --manifest-path "$top/scripts/inputs/rocksdb/Cargo.toml" "$build/rocksdb/sources" >/dev/null && break
        [ "$try" = 3 ] && { echo "build-rocksdb: the crate cannot be fetched" >&2; exit 1; }
        sleep $((try * 5))
    done
    echo "$lock_hash" >sources/.stamp
fi
crate=(sources/librocksdb-sys-*)
crate=${crate[0]}
cp -p "$top/scripts/inputs/rocksdb/main.cc" main.cc

# As the crate's build script compiles them.
flags="-std=c++17 -O2 -fPIC -w -DNDEBUG=1 -DSNAPPY=1 -DOS_LINUX -DROCKSDB_PLATFORM_POSIX"
flags+=" -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_SUPPORT_THREAD_LOCAL"
flags+=" -I$crate/rocksdb/include -I$crate/rocksdb -I$crate/snappy -I$crate"
sources() {
    echo main.cc
    # The crate has this one beside the others, with a version in it.
    echo "$crate/build_version.cc"
    sed "/^util\/build_version.cc$/d; s|^|$crate/rocksdb/|" "$crate/rocksdb_lib_sources.txt"
    printf "$crate/snappy/%s\n" snappy.cc snappy-c.cc snappy-sinksource.cc snappy-stubs-internal.cc
}

for kind in "${@:-thin}"; do
    case $kind in
        thin) lto="-flto=thin" ;;
        thin-g) lto="-flto=thin -g" ;;
        full) lto="-flto" ;;
        *) echo "build-rocksdb: $kind is none of thin, thin-g, full" >&2; exit 2 ;;
    esac
    stamp=$({ "$clang" --version; echo "$lock_hash $flags $lto"; cat main.cc; } | sha256sum)
    if [ "$(cat "$kind/.stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$kind"
        mkdir -p "$kind"
        echo "$stamp" >"$kind/.stamp"
    fi
    todo=()
    while read -r source; do
        object=${source#"$crate/"}
        object=$kind/$(echo "${object%.cc}" | sed 's|/|__|g').o
        [ -e "$object" ] || todo+=("$clang $lto $flags -c $source -o $object.tmp && mv $object.tmp $object")
    done < <(sources | head -n "${FILES:-100000}")
    [ ${#todo[@]} -eq 0 ] && continue
    echo "build-rocksdb: $kind: compiling ${#todo[@]} files"
    printf '%s\n' "${todo[@]}" | xargs -d '\n' -P "$jobs" -I{} sh -c '{}' ||
        { echo "build-rocksdb: not everything compiles" >&2; exit 1; }
done
