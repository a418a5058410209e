#!/bin/bash
# ThinLTO's objects beside LLVM's: same inputs, same resolutions, byte for byte.
#
#   scripts/parity-objects.sh BIN [CORPUS]
#
# BIN holds our llvm-lto2 and lto-worker. CORPUS is a folder of folders of bitcode files; without it,
# what scripts/build-inputs.sh built by clang 22 with -flto=thin is used. Every folder is linked as a
# shared library by ld.lld, which records the resolutions; then LLVM's llvm-lto2 and ours make
# objects by them, both with the libLLVM of that version. Prints, for each folder, how many objects
# are identical, how many have the same code (disassembly with relocations) and how many differ, and
# exits 1 where one differs. A folder whose name ends in -19 is linked with LLVM 19. What LLVM made is
# kept in LTO_PARITY_KEEP, if that names a folder, and not made again.
set -u
. "$(dirname "$0")/bitcode-files.sh"
bin=$(cd "${1:?folder of our programs}" && pwd)
corpus=$(cd "${2:-build/inputs/clang-22/thin}" && pwd)
jobs=${JOBS:-$(nproc)}
work=$(mktemp -d "${TMPDIR:-/dev/shm}/parity.XXXXXX")
trap 'rm -rf "$work"' EXIT
keep=${LTO_PARITY_KEEP:-$work/kept}
wrong=0

for folder in "$corpus"/*/; do
  name=$(basename "$folder")
  version=22
  case $name in *-19) version=19 ;; esac
  cd "$folder" || exit 1
  mapfile -t files < <(bitcode_files)
  [ ${#files[@]} -gt 0 ] || continue
  theirs=$keep/$name ours=$work/$name
  mkdir -p "$theirs" "$ours"
  if [ ! -e "$theirs/done" ]; then
    ld.lld-$version -shared "${files[@]}" -o "$work/out" --save-temps=resolution \
      --thinlto-index-only="$work/objects" --thinlto-prefix-replace=";$work/lld/" \
      --allow-multiple-definition 2> "$work/log" ||
      { echo "$name: ld.lld cannot link it: $(head -n 1 "$work/log")"; continue; }
    mv "$work/out.resolution.txt" "$theirs/resolution.txt"
    llvm-lto2-$version run "@$theirs/resolution.txt" -o "$theirs/o" -relocation-model=pic \
      "-thinlto-threads=$jobs" 2> "$work/log" ||
      { echo "$name: llvm-lto2 refuses it: $(head -n 1 "$work/log")"; continue; }
    touch "$theirs/done"
  fi
  LTO_LLVM=/usr/lib/llvm-$version/lib LTO_WORKER=$bin/lto-worker "$bin/llvm-lto2" run \
    "@$theirs/resolution.txt" -o "$ours/o" -relocation-model=pic "-thinlto-threads=$jobs" ||
    { wrong=$((wrong + 1)); continue; }
  same=0 code=0 differ=0 first=
  for object in "$theirs"/o.*; do
    other=$ours/$(basename "$object")
    if cmp -s "$object" "$other"; then same=$((same + 1)); continue; fi
    first=${first:-${files[$((${object##*.} - 1))]:-?}}
    text() { "llvm-objdump-$version" -dr --no-show-raw-insn "$1" 2> /dev/null | tail -n +3; }
    if [ -e "$other" ] && cmp -s <(text "$object") <(text "$other"); then
      code=$((code + 1))
    else
      differ=$((differ + 1))
    fi
  done
  wrong=$((wrong + differ))
  printf '%-24s LLVM %s: %4d identical %4d same code %4d different %s\n' "$name" $version \
    $same $code $differ "${first:+(first: $first)}"
  rm -rf "$ours"
done
[ $wrong = 0 ]
