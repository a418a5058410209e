#!/bin/bash
# ThinLTO's stages beside LLVM's: the modules that save-temps leaves, and those of llvm-lto's actions.
#
#   scripts/parity-stages.sh BIN [CORPUS]
#
# BIN and CORPUS are those of scripts/parity-objects.sh. Every folder is linked by LLVM's llvm-lto2 and
# ours with -save-temps, as an executable of all its files where one of them defines main and as a
# shared library otherwise, and taken through llvm-lto's promote, internalize and import. Prints, for
# each folder and stage, how many modules llvm-dis shows as the same text, how many as the same lines in
# another order, and how many differ, and exits 1 where one differs.
set -u
. "$(dirname "$0")/bitcode-files.sh"
bin=$(cd "${1:?folder of our programs}" && pwd)
corpus=$(cd "${2:-build/inputs/clang-22/thin}" && pwd)
jobs=${JOBS:-$(nproc)}
work=$(mktemp -d "${TMPDIR:-/dev/shm}/stages.XXXXXX")
trap 'rm -rf "$work"' EXIT
wrong=0

# The text of a module but for its name.
text() { "llvm-dis-$version" "$1" -o - 2> /dev/null | tail -n +2; }

# Its lines in no order, without the numbers that follow from the order: of attributes, metadata, values
# and types of the same name.
lines() { text "$1" | sed -E 's/[#!%.][0-9]+//g' | sort; }

# count STAGE THEIRS SUFFIX: every file of THEIRS with the suffix, and ours of the same name.
count() {
  local same=0 order=0 differ=0 first=
  for module in "$2"/*"$3"; do
    local other=$ours/$(basename "$module")
    if [ -e "$other" ] && cmp -s <(text "$module") <(text "$other"); then
      same=$((same + 1))
    elif [ -e "$other" ] && cmp -s <(lines "$module") <(lines "$other"); then
      order=$((order + 1))
    else
      differ=$((differ + 1))
      first=${first:-$(basename "$module")}
    fi
  done
  wrong=$((wrong + differ))
  printf '%-16s %-24s LLVM %s: %4d same %4d in another order %4d different %s\n' "$name" "$1" \
    $version $same $order $differ "${first:+(first: $first)}"
}

for folder in "$corpus"/*/; do
  name=$(basename "$folder")
  version=22
  case $name in *-19) version=19 ;; esac
  cd "$folder" || exit 1
  mapfile -t files < <(bitcode_files)
  [ ${#files[@]} -gt 0 ] || continue
  theirs=$work/theirs ours=$work/ours
  rm -rf "$theirs" "$ours"
  mkdir -p "$theirs" "$ours"
  kind="-shared --allow-multiple-definition"
  if "llvm-nm-$version" "${files[@]}" 2> /dev/null | grep -q ' T main$'; then
    kind="--unresolved-symbols=ignore-all -e main"
  fi
  # shellcheck disable=SC2086 # the words of $kind
  "ld.lld-$version" $kind "${files[@]}" -o "$work/out" --save-temps=resolution \
    --thinlto-index-only="$work/objects" --thinlto-prefix-replace=";$work/lld/" 2> "$work/log" ||
    { echo "$name: ld.lld cannot link it: $(head -n 1 "$work/log")"; continue; }
  options="-relocation-model=pic -thinlto-threads=$jobs -save-temps"
  # shellcheck disable=SC2086
  "llvm-lto2-$version" run "@$work/out.resolution.txt" -o "$theirs/o" $options 2> "$work/log" ||
    { echo "$name: llvm-lto2 refuses it: $(head -n 1 "$work/log")"; continue; }
  export LTO_LLVM=/usr/lib/llvm-$version/lib LTO_WORKER=$bin/lto-worker
  # shellcheck disable=SC2086
  "$bin/llvm-lto2" run "@$work/out.resolution.txt" -o "$ours/o" $options ||
    { wrong=$((wrong + 1)); continue; }
  for stage in 0.preopt 1.promote 2.internalize 3.import 4.opt 5.precodegen; do
    count "save-temps $stage" "$theirs" ".$stage.bc"
  done
  rm -rf "$theirs" "$ours"

  # Outputs go beside their inputs.
  mkdir -p "$theirs" "$ours" "$work/in"
  cp --parents "${files[@]}" "$work/in"
  cd "$work/in" || exit 1
  "llvm-lto-$version" -thinlto-action=thinlink "${files[@]}" -o "$work/index.bc" 2> "$work/log" ||
    { echo "$name: llvm-lto refuses it: $(head -n 1 "$work/log")"; rm -rf "$work/in"; continue; }
  for action in promote internalize import; do
    for who in theirs ours; do
      program=$bin/llvm-lto
      [ $who = theirs ] && program=llvm-lto-$version
      "$program" "-thinlto-action=$action" "-thinlto-index=$work/index.bc" -exported-symbol=main \
        "${files[@]}" 2> "$work/log" || { cat "$work/log"; wrong=$((wrong + 1)); }
      find . -name '*.thinlto.*.bc' | while read -r file; do
        mv "$file" "$work/$who/$(echo "${file#./}" | tr / _)"
      done
    done
    count "llvm-lto $action" "$theirs" .bc
    rm -rf "${theirs:?}"/* "${ours:?}"/*
  done
  rm -rf "$work/in"
done
[ $wrong = 0 ]
