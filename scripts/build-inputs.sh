#!/usr/bin/env bash
# Compiles real programs to bitcode, for the tests and benchmarks that link them.
#
#   scripts/build-inputs.sh [CLANG-VERSION...]        default: 14 16 19 22
#
# In:  sqlite3, zstd and lua, unpacked by cargo from the crates that scripts/inputs/Cargo.lock pins,
#      and a small main for each beside it.
# Out: $LTO_BUILD_DIR/inputs/clang-N/{full,thin}/{sqlite3,zstd,lua}/*.o, one bitcode module each
#      (zstd has one native object among them: its assembly), and in .../native/gcc/... the same
#      programs without LTO, whose output is what every linked program must print.
#
# LTO_BUILD_DIR is `build` beside the Makefile where it is not set. What is there and still right
# (same sources, flags and compiler) is not made again; two calls at once wait for one another.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=${LTO_BUILD_DIR:-$top/build}
jobs=${JOBS:-$(nproc)}
# Every path below is relative, so that no module's source name depends on where this tree lies.
mkdir -p "$build/inputs/main"
cd "$build"
sources=sources

exec 9>.inputs.lock
flock 9
cp -p "$top"/scripts/inputs/*_main.c "$top"/scripts/inputs/*.in inputs/main/

# --- sources -------------------------------------------------------------------------------------

lock_hash=$(sha256sum "$top/scripts/inputs/Cargo.lock" | cut -c1-16)
if [ "$(cat "$sources/.stamp" 2>/dev/null)" != "$lock_hash" ]; then
    rm -rf "$sources"
    for try in 1 2 3; do
        cargo vendor --quiet --locked --versioned-dirs \
            --manifest-path "$top/scripts/inputs/Cargo.toml" "$build/sources" >/dev/null && break
        [ "$try" = 3 ] && { echo "build-inputs: the crates cannot be fetched" >&2; exit 1; }
        sleep $((try * 5))
    done
    echo "$lock_hash" >"$sources/.stamp"
fi

# The folder of a crate, whatever its version.
crate() {
    local found=("$sources/$1"-[0-9]*)
    echo "${found[0]}"
}
sqlite3=$(crate libsqlite3-sys)/sqlite3
zstd=$(crate zstd-sys)/zstd/lib
lua=("$(crate lua-src)"/lua-5.4*)
mains=inputs/main

# --- what to compile -----------------------------------------------------------------------------

# Prints "source<TAB>object name<TAB>flags" for each file of a program.
files() {
    local f
    case $1 in
        sqlite3)
            local f3="-I$sqlite3 -DSQLITE_THREADSAFE=1 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_DBSTAT_VTAB"
            printf '%s\tsqlite3.o\t%s\n' "$sqlite3/sqlite3.c" "$f3"
            printf '%s\tmain.o\t%s\n' "$mains/sqlite3_main.c" "$f3"
            ;;
        zstd)
            for f in "$zstd"/{common,compress,decompress,dictBuilder}/*.[cS]; do
                printf '%s\t%s.o\t%s\n' "$f" "$(basename "${f%.*}")" "-I$zstd -DZSTD_MULTITHREAD=1"
            done
            printf '%s\tmain.o\t%s\n' "$mains/zstd_main.c" "-I$zstd"
            ;;
        lua)
            for f in "${lua[0]}"/*.c; do
                case $(basename "$f") in lua.c | luac.c) continue ;; esac
                printf '%s\t%s.o\t%s\n' "$f" "$(basename "${f%.c}")" "-DLUA_USE_POSIX"
            done
            printf '%s\tmain.o\t%s\n' "$mains/lua_main.c" "-I${lua[0]}"
            ;;
    esac
}

# --- compile -------------------------------------------------------------------------------------

# Everything to compile goes into one list first, so that no processor waits for the longest file of
# each program; the stamps are written when all of it is done.
todo=inputs/.todo
stamps=inputs/.stamps
: >"$todo"
rm -rf "$stamps"
mkdir -p "$stamps"

# plan COMPILER FLAGS OUT-FOLDER: all three programs, those that are not there yet.
plan() {
    local cc=$1 flags=$2 out=$3 program stamp list
    for program in sqlite3 zstd lua; do
        list=$(files "$program")
        # The whole of what decides an object: the compiler, the sources, the flags, the file list.
        stamp=$({ "$cc" --version; echo "$flags $lock_hash $list"; cat "$mains/${program}_main.c"; } | sha256sum)
        [ "$(cat "$out/$program/.stamp" 2>/dev/null)" = "$stamp" ] && continue
        rm -rf "${out:?}/$program"
        mkdir -p "$out/$program"
        echo "$stamp" >"$stamps/$(echo "$out/$program" | tr / :)"
        while IFS=$'\t' read -r source object extra; do
            case $source in
                *.S) printf '%s -c -O2 -fPIC %s -o %s %s\n' "$cc" "$extra" "$out/$program/$object" "$source" ;;
                *) printf '%s -c -fPIC -w %s %s -o %s %s\n' "$cc" "$flags" "$extra" "$out/$program/$object" "$source" ;;
            esac
        done <<<"$list" >>"$todo"
    done
}

native=inputs/native
plan gcc -O1 "$native/gcc"
for n in ${*:-14 16 19 22}; do
    command -v "clang-$n" >/dev/null || { echo "build-inputs: clang-$n is not installed (scripts/install-test-deps.sh)" >&2; exit 1; }
    plan "clang-$n" "-O2 -flto" "inputs/clang-$n/full"
    plan "clang-$n" "-O2 -flto=thin" "inputs/clang-$n/thin"
done
if [ -s "$todo" ]; then
    echo "build-inputs: compiling $(wc -l <"$todo") files"
    # The longest first.
    { grep '/sqlite3\.c$' "$todo" || true; grep -v '/sqlite3\.c$' "$todo" || true; } |
        xargs -d '\n' -P "$jobs" -I{} sh -c '{}' || { echo "build-inputs: not everything compiles" >&2; exit 1; }
    for stamp in "$stamps"/*; do
        cp "$stamp" "$(basename "$stamp" | tr : /)/.stamp"
    done
fi
rm -rf "$stamps" "$todo"

# The reference: the same programs by gcc, without LTO, linked, and what they print.
run_native() {
    local program=$1
    shift
    if [ "$native/gcc/$program/.stamp" -nt "$native/$program.expected" ] || [ "$mains/$program.in" -nt "$native/$program.expected" ]; then
        gcc "$native/gcc/$program"/*.o -o "$native/$program" -lm -ldl -lpthread
        "$native/$program" "$@" >"$native/$program.expected.tmp"
        mv "$native/$program.expected.tmp" "$native/$program.expected"
    fi
}
run_native sqlite3 "$mains/sqlite3.in"
run_native zstd
run_native lua "$mains/lua.in" one two
