#!/bin/bash
# The thin link beside LLVM's: same inputs, same resolutions, byte for byte.
#
#   scripts/parity-thinlink.sh BIN [CORPUS]
#
# BIN holds our llvm-lto2 and llvm-lto. CORPUS is a folder of folders of bitcode files; without
# it, what scripts/build-inputs.sh built is used. Every folder is linked twice, as a shared library
# and as a program, by ld.lld --thinlto-index-only, which also records the resolutions; then LLVM's
# llvm-lto2 and ours go through the same resolutions, and every .thinlto.bc and .imports file of
# the three is compared. llvm-lto's three actions are compared as well. Prints the counts, and
# exits 1 where anything differs. A folder whose name ends in -19 is linked with LLVM 19.
set -u
bin=$(cd "${1:?folder of our programs}" && pwd)
corpus=$(cd "${2:-build/inputs}" && pwd)
work=$(mktemp -d "${TMPDIR:-/dev/shm}/parity.XXXXXX")
trap 'rm -rf "$work"' EXIT
total=0 wrong=0

# compare NAME REFERENCE OURS: every file of REFERENCE against that of OURS.
compare() {
  local name=$1 same=0 differ=0 first=
  while read -r file; do
    if cmp -s "$2/$file" "$3/$file"; then same=$((same + 1)); else
      differ=$((differ + 1)); first=${first:-$file}
    fi
  done < <(cd "$2" && find . -type f | sort)
  total=$((total + same + differ)) wrong=$((wrong + differ))
  printf '%-44s %5d same %5d differ %s\n' "$name" $same $differ "${first:+(first: $first)}"
}

for folder in "$corpus"/*/; do
  name=$(basename "$folder")
  version=22
  case $name in *-19) version=19 ;; esac
  mapfile -t files < <(cd "$folder" && find . -name '*.o' | sed 's|^\./||' | sort)
  [ ${#files[@]} -gt 0 ] || continue
  cd "$folder" || exit 1
  for kind in shared program; do
    flags=(-shared)
    [ $kind = program ] && flags=(-e main --unresolved-symbols=ignore-all)
    out=$work/$name.$kind
    mkdir -p "$out"/{lld,llvm,ours}
    ld.lld-$version "${flags[@]}" "${files[@]}" -o "$out/out" --save-temps=resolution \
      --thinlto-index-only="$out/objects" --thinlto-emit-imports-files \
      --thinlto-prefix-replace=";$out/lld/" --allow-multiple-definition 2> "$out/log" ||
      { echo "$name $kind: ld.lld cannot link it: $(head -n 1 "$out/log")"; continue; }
    "$bin/llvm-lto2" run "@$out/out.resolution.txt" -o "$out/ours.out" -llvm-version=$version \
      -thinlto-distributed-indexes -thinlto-emit-imports "-thinlto-prefix-replace=;$out/ours/" ||
      { wrong=$((wrong + 1)); continue; }
    compare "$name $kind: ld.lld-$version" "$out/lld" "$out/ours"
    # LLVM's llvm-lto2 writes beside the inputs, so it gets copies, by the same names.
    mkdir "$out/copies"
    cp --parents "${files[@]}" "$out/copies"
    (cd "$out/copies" && llvm-lto2-$version run "@$out/out.resolution.txt" -o "$out/llvm.out" \
      -thinlto-distributed-indexes -thinlto-emit-imports && find . -name '*.o' -delete)
    # It takes another linker's word for which copies prevail, but decides visibility itself.
    "$bin/llvm-lto2" run "@$out/out.resolution.txt" -o "$out/ours.out" -llvm-version=$version \
      -thinlto-distributed-indexes -thinlto-emit-imports "-thinlto-prefix-replace=;$out/ours2/"
    compare "$name $kind: llvm-lto2-$version" "$out/copies" "$out/ours2"
    rm -rf "$out"
  done
  mkdir -p "$work/l/ref" "$work/l/ours"
  if llvm-lto-$version -thinlto-action=thinlink -o "$work/l/ref/index" "${files[@]}" \
    2> "$work/l/log"; then
    "$bin/llvm-lto" -thinlto-action=thinlink -o "$work/l/ours/index" -llvm-version=$version \
      "${files[@]}"
    for action in distributedindexes emitimports; do
      for who in ref ours; do
        tool="llvm-lto-$version"
        [ $who = ours ] && tool="$bin/llvm-lto -llvm-version=$version"
        $tool -thinlto-action=$action -thinlto-index="$work/l/ref/index" \
          "-thinlto-prefix-replace=;$work/l/$who/$action/" "${files[@]}" 2> "$work/l/log"
      done
    done
    compare "$name: llvm-lto-$version" "$work/l/ref" "$work/l/ours"
  else
    echo "$name: llvm-lto-$version refuses it: $(head -n 1 "$work/l/log")"
  fi
  rm -rf "$work/l"
done
echo "$((total - wrong)) of $total files are the same"
[ $wrong = 0 ] && [ $total != 0 ]
