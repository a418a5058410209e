#!/usr/bin/env bash
# Times the ThinLTO file API and lto-index beside LLVM's llvm-lto in one run, checks that both wrote
# the same index, and prints the table of docs/thinlto-file-api.md.
#
#   scripts/bench-index.sh FOLDER-OF-libLTO.so FOLDER-OF-BITCODE [COPIES]
#
# FOLDER-OF-BITCODE  modules with summaries (*.o) of one program, such as RocksDB
# COPIES             how many renamed copies of them make the large index, default 22; each gets
#                    symbols of its own where their names have the word "rocksdb" in them
# LLVM_LTO           LLVM's program, default llvm-lto-22
# ROUNDS             how often both merge in turn, default 7; the medians are reported
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
out=$1 folder=$2 copies=${3:-22}
llvm=${LLVM_LTO:-llvm-lto-22}
rounds=${ROUNDS:-7}

# In memory: what is timed is not a disk.
work=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)")
trap 'rm -rf "$work"' EXIT
gcc -O2 -I"$top/include" "$top/benches/index_bench.c" -o "$work/bench" -ldl
mapfile -t files < <(find -L "$folder" -name '*.o' | sort)

# run LOG COMMAND...: adds the microseconds that it took to the log.
run() {
    local log=$1 start end
    shift
    start=${EPOCHREALTIME/[.,]/}
    "$@" >/dev/null
    end=${EPOCHREALTIME/[.,]/}
    echo $((end - start)) >>"$work/$log.us"
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
peak() { env time -f %M -o "$work/peak" "$@" >/dev/null && cat "$work/peak"; }

ours=("$out/lto-index" merge -o "$work/ours.bc" "${files[@]}")
theirs=("$llvm" -thinlto-action=thinlink -o "$work/llvm.bc" "${files[@]}")
for ((i = 0; i < rounds; i++)); do
    run ours "${ours[@]}"
    run llvm "${theirs[@]}"
done
same=yes
cmp -s "$work/ours.bc" "$work/llvm.bc" || same=NO
o=$(median "$work/ours.us") l=$(median "$work/llvm.us")
om=$(peak "${ours[@]}") lm=$(peak "${theirs[@]}")
echo "| what | ours | LLVM 22 | LLVM / ours |"
echo "|---|---|---|---|"
awk -v n="${#files[@]}" -v o="$o" -v l="$l" -v om="$om" -v lm="$lm" -v s="$same" 'BEGIN {
    printf "| %d modules read, merged and written; same bytes: %s | %.1f ms | %.1f ms | %.1f |\n", n, s, o / 1e3, l / 1e3, l / o
    printf "| peak memory of that | %.1f MiB | %.1f MiB | %.1f |\n", om / 1024, lm / 1024, lm / om }'

# The module whose size is nearest to a megabyte.
module=$(stat -L -c '%s %n' "${files[@]}" | awk '{ d = $1 > 1e6 ? $1 - 1e6 : 1e6 - $1; if (NR == 1 || d < best) { best = d; name = $2 } } END { print name }')
size=$(stat -L -c %s "$module")
read -r has answer < <("$work/bench" "$out/libLTO.so" has "$module")
read -r memory _ < <("$work/bench" "$out/libLTO.so" has-memory "$module")
awk -v s="$size" -v a="$answer" -v h="$has" -v m="$memory" 'BEGIN {
    printf "| `lto_has_thinlto_index` of a module of %.2f MB (%s), by path | %.1f us | | |\n", s / 1e6, a, h
    printf "| the same in memory | %.1f us | | |\n", m }'

# A combined index of many functions, plain and with a function table.
python3 "$top/benches/thinlink_copies.py" "$folder" "$work/copies" "$copies"
mapfile -t many < <(find "$work/copies" -name '*.o' | sort)
"$out/lto-index" merge -o "$work/plain.bc" "${many[@]}" >/dev/null
rm -rf "$work/copies"
"$work/bench" "$out/libLTO.so" table "$work/plain.bc" "$work/table.bc"
read -r functions of_all < <("$work/bench" "$out/libLTO.so" count "$work/plain.bc")
read -r whole a < <("$work/bench" "$out/libLTO.so" whole "$work/plain.bc")
read -r lazy b < <("$work/bench" "$out/libLTO.so" lazy "$work/plain.bc")
read -r table c < <("$work/bench" "$out/libLTO.so" lazy "$work/table.bc")
read -r later _ < <("$work/bench" "$out/libLTO.so" later "$work/plain.bc")
read -r later_table _ < <("$work/bench" "$out/libLTO.so" later "$work/table.bc")
[ "$a" = "$b" ] && [ "$a" = "$c" ] || { echo "bench-index: the readers do not agree: $a $b $c" >&2; exit 1; }
awk -v s="$(stat -c %s "$work/plain.bc")" -v f="$functions" -v a="$of_all" -v w="$whole" -v p="$lazy" -v t="$table" -v l="$later" -v lt="$later_table" 'BEGIN {
    printf "\n| an index of %.1f MB, %d functions in %d copies | ms | times faster |\n|---|---|---|\n", s / 1e6, f, a
    printf "| all of it read, one function looked up | %.2f | 1 |\n", w / 1e3
    printf "| one function read, plain file | %.2f | %.1f |\n", p / 1e3, w / p
    printf "| one function read, file with a function table | %.3f | %.0f |\n", t / 1e3, w / t
    printf "| a later function, plain / with a table | %.4f / %.4f | |\n", l / 1e3, lt / 1e3 }'
[ "$same" = yes ] || { echo "bench-index: the indexes differ" >&2; exit 1; }
