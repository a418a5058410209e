#!/usr/bin/env bash
# Times this library beside LLVM's own libLTO in one run, checks that both gave the same answer, and
# writes the table of docs/benchmarks.md.
#
#   scripts/bench.sh FOLDER-OF-libLTO.so [GROUP...]     groups: process symbols input codegen
#
# LTO_CORPUS     a folder of folders of bitcode files (*.o), each a corpus beside those that
#                scripts/build-inputs.sh compiles; a file ABOUT in it is put under the table
# LLVM_LIBLTO    LLVM's library, default that of Debian's llvm-22-linker-tools
# ROUNDS         how often both are run in turn, default 5 (3 for code generation); the medians
#                are reported
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
out=$1
shift
groups=${*:-process symbols input codegen}
ours=$out/libLTO.so
llvm=${LLVM_LIBLTO:-/usr/lib/llvm-22/lib/libLTO.so}
rounds=${ROUNDS:-5}
build=${LTO_BUILD_DIR:-$top/build}
doc=$top/docs/benchmarks.md

[ -e "$llvm" ] || { echo "bench: $llvm is not there; install llvm-22-linker-tools" >&2; exit 1; }
"$top/scripts/build-inputs.sh" 14 19 22

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -I"$top/include" "$top/benches/lto_bench.c" -o "$work/bench" -ldl

# Both libraries must turn IR into code with the same LLVM: that which LLVM's libLTO is linked to.
if [ -z "${LTO_LLVM:-}" ]; then
    LTO_LLVM=$(ldd "$llvm" | awk '/libLLVM/ { print $3 }')
    export LTO_LLVM
fi

# The folders of bitcode to read, by name.
declare -A corpora
names=()
corpus() {
    corpora[$1]=$2
    names+=("$1")
}
if [ -n "${LTO_CORPUS:-}" ]; then
    for folder in "$LTO_CORPUS"/*/; do
        corpus "$(basename "$folder")" "$folder"
    done
fi
for v in 22 19 14; do
    corpus "sqlite3+zstd+lua-clang-$v" "$build/inputs/clang-$v/thin"
done

rows=$work/rows
wrong=0

# compare LABEL MODE ARGUMENT FILE...: both libraries in turn, ROUNDS times; one row of the table.
compare() {
    local label=$1 mode=$2 argument=$3 i a b
    shift 3
    : >"$work/ours" && : >"$work/llvm"
    for ((i = 0; i < rounds; i++)); do
        "$work/bench" "$ours" "$mode" "${argument//@/ours}" "$@" >>"$work/ours"
        "$work/bench" "$llvm" "$mode" "${argument//@/llvm}" "$@" >>"$work/llvm"
    done
    a=$(awk '{ print $3 }' "$work/ours" | sort -u) b=$(awk '{ print $3 }' "$work/llvm" | sort -u)
    local same=yes
    [ "$a" = "$b" ] || { same=NO; wrong=1; }
    # Median of a column, then the row.
    med() { sort -n -k"$2,$2" "$1" | awk -v c="$2" '{ v[NR] = $c } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
    awk -v l="$label" -v s="$same" -v to="$(med "$work/ours" 1)" -v tl="$(med "$work/llvm" 1)" \
        -v mo="$(med "$work/ours" 2)" -v ml="$(med "$work/llvm" 2)" \
        'BEGIN { printf "| %s | %.2f | %.2f | %.2f | %.1f | %.1f | %s |\n", l, to, tl, tl / to, mo / 1024, ml / 1024, s }' |
        tee -a "$rows"
}

has() { [[ " $groups " == *" $1 "* ]]; }

printf '| %s | ours, ms | LLVM, ms | LLVM / ours | ours, MiB | LLVM, MiB | same answer |\n|---|---|---|---|---|---|---|\n' "what" | tee "$rows"

# beyond LABEL: the row before once more, less what an empty process costs.
beyond() {
    : >"$work/empty"
    for ((i = 0; i < rounds; i++)); do "$work/bench" - process 100 - >>"$work/empty"; done
    local empty
    empty=$(sort -n "$work/empty" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
    awk -F'|' -v l="$1" -v e="$empty" '{ o = $3 - e; t = $4 - e; if (o < 0.001) o = 0.001 }
        END { printf "| %s (an empty process: %.2f ms) | %.2f | %.2f | %.2f | | | |\n", l, e, o, t, t / o }' "$rows" | tee -a "$rows"
}

if has process; then
    compare "whole process: dlopen, one module (sqlite3), list, exit" process 100 "$build/inputs/clang-22/thin/sqlite3/sqlite3.o"
    beyond "the same, less what any process costs"
    compare "whole process: dlopen, one module (lua lvm), list, exit" process 100 "$build/inputs/clang-22/thin/lua/lvm.o"
    beyond "the same, less what any process costs"
fi
for corpus in "${names[@]}"; do
    mapfile -t files < <(find -L "${corpora[$corpus]}" -name '*.o' | sort)
    [ "${#files[@]}" -gt 0 ] || continue
    if has symbols; then
        compare "symbols of $corpus (${#files[@]} files), create_in_local_context" local 5 "${files[@]}"
        compare "symbols of $corpus (${#files[@]} files), create_from_memory" memory 2 "${files[@]}"
    fi
    if has input; then
        compare "lto_input_create of $corpus (${#files[@]} files)" input 5 "${files[@]}"
    fi
done
if has codegen; then
    [ "$rounds" -le 3 ] || rounds=3
    for program in zstd lua sqlite3; do
        for mode in full thin; do
            # The same path for both objects: nothing of it may differ.
            compare "regular LTO of $program (clang 22, $mode modules), object compared" codegen \
                "$work/@.o" "$build/inputs/clang-22/$mode/$program"/*.o
            cmp -s "$work/ours.o" "$work/llvm.o" || { echo "bench: the objects of $program ($mode) differ" >&2; wrong=1; }
        done
    done
fi

{
    cat <<TEXT
# Benchmarks

Written by \`make bench\`; run it again to renew this page. Both libraries do the same work in turn
(${ROUNDS:-5} times each, code generation three times; the medians stand here), through the same C ABI and on the same files, warm, one
thread. Symbols and inputs are timed by that thread's processor time, the rest by the clock. "Same answer" compares every symbol name and attribute in order, or the object byte for byte.
MiB is the peak resident memory of the process, or of its largest child where that is more.

LLVM's library: \`$(basename "$(readlink -f "$llvm")")\`. Where machine code is made, both use \`$(basename "$(readlink -f "$LTO_LLVM")")\`.
Machine: $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release).

    make bench                                    # the programs that the tests use
    LTO_CORPUS=/folder/of/folders make bench      # and your own bitcode files
    scripts/bench.sh target/release symbols       # one group: process, symbols, input or codegen

TEXT
    cat "$rows"
    if [ -n "${LTO_CORPUS:-}" ] && [ -e "$LTO_CORPUS/ABOUT" ]; then
        echo
        cat "$LTO_CORPUS/ABOUT"
    fi
} >"$work/page"
if [ "${*:-}" = "" ]; then
    mkdir -p "$top/docs"
    cp "$work/page" "$doc"
    echo "bench: wrote docs/benchmarks.md"
fi
if [ "$wrong" != 0 ]; then
    echo "bench: the libraries do not agree" >&2
    exit 1
fi
