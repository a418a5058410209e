#!/usr/bin/env bash
# Times lto-cgdata beside LLVM's llvm-cgdata in one run, checks that both wrote the same bytes, and
# prints a table.
#
#   scripts/bench-cgdata.sh LTO-CGDATA
#
# LTO_CORPUS     a folder of bitcode files (*.o); without it the programs that scripts/build-inputs.sh
#                compiles. They are compiled once more, -Oz for aarch64, into objects with codegen data
# LLVM_CGDATA    LLVM's tool, default llvm-cgdata-22
# ROUNDS         how often both are run in turn, default 9; the medians are reported
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
ours=$(realpath "$1")
llvm=${LLVM_CGDATA:-llvm-cgdata-22}
rounds=${ROUNDS:-9}
build=${LTO_BUILD_DIR:-$top/build}

if [ -n "${LTO_CORPUS:-}" ]; then
    corpus=$LTO_CORPUS
else
    "$top/scripts/build-inputs.sh" 22
    corpus=$build/inputs/clang-22/thin
fi

# Objects, whole and with the trees alone.
objects=$build/cgdata-$(realpath "$corpus" | cksum | cut -d' ' -f1)
if [ ! -e "$objects/done" ]; then
    rm -rf "$objects"
    mkdir -p "$objects/both" "$objects/tree"
    find "$corpus" -name '*.o' | sort | while read -r file; do
        # Not every input is bitcode: zstd has assembly among it.
        name=$(printf '%s' "${file#"$corpus"/}" | tr / _)
        clang-22 --target=aarch64-linux-gnu -Oz -w -Wno-override-module -c -x ir "$file" \
            -o "$objects/both/$name" -mllvm -enable-machine-outliner=always \
            -mllvm -codegen-data-generate=true -mllvm -enable-global-merge-func 2>/dev/null || continue
        llvm-objcopy-22 -R __llvm_merge "$objects/both/$name" "$objects/tree/$name"
    done
    ld.lld-22 -r -o "$objects/linked.o" "$objects"/tree/*.o
    touch "$objects/done"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIMEFORMAT='%R %U %S'
wrong=0

# compare LABEL ARGUMENT...: both tools in turn; one row: wall time and time of all processors.
compare() {
    local label=$1 i
    shift
    : >"$work/ours.times" && : >"$work/llvm.times"
    for ((i = 0; i < rounds; i++)); do
        { time "$ours" "$@" -o "$work/ours.out"; } 2>>"$work/ours.times"
        { time "$llvm" "$@" -o "$work/llvm.out"; } 2>>"$work/llvm.times"
    done
    local same=yes
    cmp -s "$work/ours.out" "$work/llvm.out" || { same=NO; wrong=1; }
    # The median of a column, in milliseconds.
    median() { awk "{ print 1000 * ($2) }" "$work/$1.times" | sort -n | sed -n "$((rounds / 2 + 1))p"; }
    awk -v label="$label" -v same="$same" -v a="$(median llvm '$1')" -v b="$(median ours '$1')" \
        -v c="$(median llvm '$2 + $3')" -v d="$(median ours '$2 + $3')" \
        'BEGIN { printf "| %s | %.0f ms | %.0f ms | %.1f | %.0f ms | %.0f ms | %.1f | %s |\n",
                 label, a, b, a / (b ? b : 1), c, d, c / (d ? d : 1), same }'
}

echo "| work | LLVM | ours | ratio | LLVM, CPU | ours, CPU | ratio | same bytes |"
echo "|---|---|---|---|---|---|---|---|"
count=$(find "$objects/both" -name '*.o' | wc -l)
compare "merge the trees of one linked object ($count modules)" --merge "$objects/linked.o"
compare "merge the trees of $count objects" --merge "$objects"/tree/*.o
compare "merge trees and maps of $count objects" --merge "$objects"/both/*.o
compare "the same, --skip-trim" --merge --skip-trim "$objects"/both/*.o
"$llvm" --merge --skip-trim "$objects"/both/*.o -o "$work/all"
"$llvm" --convert "$work/all" -o "$work/text"
compare "convert to text" --convert "$work/all"
compare "convert to binary" --convert --format binary "$work/text"
[ "$wrong" = 0 ] || { echo "bench-cgdata: the outputs differ" >&2; exit 1; }
