#!/bin/bash
# How many modules are compiled again after an edit, through the cache of LLVM's plugin and ours.
#
#   scripts/recompiled.sh BIN                              lua, plain and with -g
#   scripts/recompiled.sh BIN rocksdb MODULES CRATE        RocksDB
#
# BIN holds our libLTO.so and lto-worker. MODULES is a folder of RocksDB's modules (ThinLTO bitcode
# by clang 22, crate__path__file.o, main among them), CRATE the unpacked crate librocksdb-sys that
# they were compiled from; of them only the edited file is compiled anew, with CXXFLAGS (-g, where
# MODULES have it).
#
# Links everything by ld.gold with an empty cache, and then, each time from a copy of that cache, with
# one file edited: a comment, which moves the lines behind it; the body of a function that only its
# module uses; the body of one that others import; a new function. Prints for each how many objects
# the link put into the cache, and its time in seconds; and how many of LLVM's objects are others than
# before, which is the least that any cache can come to. Links at -O2; OPT=1 counts faster. LDFLAGS=-shared links
# modules that are no whole program.
set -euo pipefail
bin=$(cd "${1:?folder of libLTO.so}" && pwd)
top=$(cd "$(dirname "$0")/.." && pwd)
build=${LTO_BUILD_DIR:-$top/build}
opt=${OPT:-2}
jobs=${JOBS:-$(nproc)}
work=$(mktemp -d "${TMPDIR:-/dev/shm}/recompiled.XXXXXX")
trap 'rm -rf "$work"' EXIT
export LTO_LLVM=${LTO_LLVM:-/usr/lib/llvm-22/lib} LTO_WORKER=$bin/lto-worker
declare -A plugin=([theirs]=/usr/lib/llvm-22/lib/LLVMgold.so [ours]=$bin/libLTO.so)

# link WHOSE CACHE: links the objects of $work/o.
link() {
    g++ -fuse-ld=gold "-Wl,-plugin,${plugin[$1]}" "-Wl,-plugin-opt=O$opt" "-Wl,-plugin-opt=jobs=$jobs" \
        "-Wl,-plugin-opt=cache-dir=$2" ${LDFLAGS:-} -o "$work/out" "$work"/o/*.o -lm -ldl -lpthread
}

# entries CACHE: the files of its objects; another name of an object is no other file.
entries() {
    ls -i "$1" | awk '/llvmcache-/ { print $1 }' | sort -u
}

# contents CACHE: a sum of each of its objects.
contents() {
    md5sum "$1"/llvmcache-* | cut -d' ' -f1 | sort -u
}

# try WHAT FILE SED: edits a source by SED and links.
try() {
    local what=$1 source=$2 edit=$3 whose object count=() before least=0
    object=$(object "$source")
    sed "$edit" "$tree/$source" > "$work/tree/$source"
    cmp -s "$tree/$source" "$work/tree/$source" && { echo "$source: the edit changes nothing" >&2; exit 1; }
    compile "$source"
    for whose in theirs ours; do
        rm -rf "$work/cache"
        cp -a "$work/cache.$whose" "$work/cache"
        before=$(entries "$work/cache")
        local from=$EPOCHREALTIME
        link "$whose" "$work/cache"
        local to=$EPOCHREALTIME
        count+=("$(comm -13 <(echo "$before") <(entries "$work/cache") | wc -l)")
        count+=("$(awk "BEGIN { printf \"%.2f\", $to - $from }")")
        [ $whose = theirs ] &&
            least=$(comm -13 <(contents "$work/cache.theirs") <(contents "$work/cache") | wc -l)
        cmp -s "$work/out" "$work/out.$whose" && [ "$what" != "a comment" ] &&
            echo "$what: the program did not change" >&2
        mv "$work/out" "$work/edited.$whose"
    done
    cmp -s "$work/edited.theirs" "$work/edited.ours" || echo "$what: not LLVM's program" >&2
    printf '%-28s %-26s %6d %8.2f s %6d %8.2f s %6d\n' "$what" "$source" "${count[@]}" "$least"
    cp "$tree/$source" "$work/tree/$source"
    cp "$work/original/$object" "$work/o/$object"
}

base() {
    printf '\n%s\n%-55s %17s %17s %6s\n' "$1" "" LLVM here least
    local whose
    for whose in theirs ours; do
        rm -rf "$work/cache.$whose"
        link "$whose" "$work/cache.$whose"
        mv "$work/out" "$work/out.$whose"
    done
    printf '%-55s %6d %17d\n' "all modules" "$(entries "$work/cache.theirs" | wc -l)" \
        "$(entries "$work/cache.ours" | wc -l)"
}

program=${2:-lua}
case $program in
lua)
    "$top/scripts/build-inputs.sh" 22 > /dev/null
    tree=$work/lua
    cp -a "$build"/sources/lua-src-*/lua-5.4* "$tree"
    cp "$build/inputs/main/lua_main.c" "$tree/"
    object() { echo "$(basename "${1%.c}").o"; }
    for flags in "" -g; do
        rm -rf "$work"/{o,original,tree}
        mkdir -p "$work"/{o,original}
        cp -a "$tree" "$work/tree"
        compile() {
            (cd "$work/tree" && clang-22 -O2 -fPIC -flto=thin $flags -w -DLUA_USE_POSIX -c "$1" -o "$work/o/$(object "$1")")
        }
        for source in "$tree"/*.c; do compile "${source##*/}"; done
        cp "$work"/o/*.o "$work/original/"
        base "lua ${flags:-without debug information}"
        try "a comment" lstring.c '1i // A comment.'
        try "a private function's body" lstring.c '/^static void tablerehash/,/^}/s/i < osize; i++/i <= osize - 1; i += 2/'
        try "an imported function's body" lstring.c '/^int luaS_eqlngstr/,/^}/s/a == b/a == b + 1/'
        try "a new function" lstring.c '$a int luaS_added (int n) { return n * 3; }'
    done
    ;;
rocksdb)
    modules=${3:?folder of modules} tree=$(cd "${4:?folder of the crate}" && pwd)
    mkdir -p "$work"/{o,tree}
    cp "$modules"/*.o "$work/o/"
    cp -a "$tree/." "$work/tree/"
    object() { echo "${1//\//__}" | sed 's/\.cc$/.o/'; }
    compile() {
        (cd "$work/tree" && clang++-22 -O2 -fPIC -flto=thin -std=c++20 -DROCKSDB_PLATFORM_POSIX \
            -DROCKSDB_LIB_IO_POSIX -DOS_LINUX -Irocksdb -Irocksdb/include ${CXXFLAGS:-} -c "$1" \
            -o "$work/o/$(object "$1")")
    }
    compile rocksdb/util/coding.cc
    compile rocksdb/util/comparator.cc
    cp -a "$work/o" "$work/original"
    base "RocksDB ${CXXFLAGS:-without debug information}"
    try "a comment" rocksdb/util/coding.cc '1i // A comment.'
    try "a private function's body" rocksdb/util/comparator.cc \
'/^static int RegisterBuiltinComparators/,/{$/ s/) {$/&\n  if (getenv("PLAIN") != nullptr) return 0;/'
    try "an imported function's body" rocksdb/util/coding.cc 's/v < (1 << 7)/v < (1 << 7) - 1/'
    try "a new function" rocksdb/util/coding.cc \
        '/^}  *\/\/ *namespace/i uint32_t Added(uint32_t v) { return v * 3; }'
    ;;
*)
    echo "$program: lua or rocksdb" >&2
    exit 1
    ;;
esac
