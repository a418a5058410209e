#!/bin/sh
# Makes tests/llvm23 anew: modules and indexes by LLVM 23 with GUIDs stored in the module, MemProf
# records behind their functions and GUIDs of CFI functions, and the text that its llvm-dis gives.
# LLVM 23's tools (opt, llvm-dis, lld) come with a nightly Rust toolchain, installed by rustup into
# a folder of its own.
#
# usage: scripts/llvm23-goldens.sh [FOLDER]    default: target/llvm-23
set -eu
cd "$(dirname "$0")/.."
nightly=nightly-2026-10-30
folder=${1:-target/llvm-23}
mkdir -p "$folder"
RUSTUP_HOME=$(cd "$folder" && pwd)
export RUSTUP_HOME
host=$(rustc -vV | sed -n 's/^host: //p')
tools=$RUSTUP_HOME/toolchains/$nightly-$host/lib/rustlib/$host/bin
[ -x "$tools/opt" ] ||
    rustup toolchain install "$nightly" --profile minimal --component llvm-tools --no-self-update
"$tools/opt" --version | grep 'LLVM version 23\.'

cd tests/llvm23
rm -f ./*.bc ./*.txt
for name in guids caller memprof; do
    "$tools/opt" -module-summary $name.ll -o $name.bc
done
"$tools/opt" -thinlto-bc -thinlto-split-lto-unit cfi.ll -o cfi.bc
# -shared keeps everything alive; the index of the whole link is one of those of save-temps.
"$tools/rust-lld" -flavor gnu -shared --thinlto-index-only --save-temps memprof.bc guids.bc \
    caller.bc -o link.so
"$tools/rust-lld" -flavor gnu -shared --thinlto-index-only cfi.bc -o cfi.so
mv link.so.index.bc combined.bc
mv memprof.bc.thinlto.bc memprof-index.bc
mv cfi.bc.thinlto.bc cfi-index.bc
rm -f ./*.so* ./*.thinlto.bc ./*.imports cfi.bc
for file in *.bc; do
    "$tools/llvm-dis" "$file" -o - | grep '^\^' >"${file%.bc}.txt"
done
ls -l
