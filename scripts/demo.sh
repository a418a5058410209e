#!/usr/bin/env bash
# Shows link-time optimisation across crates with plain GNU ld: the program in demo/ is built twice,
# as cargo builds it and as bitcode through our plugin, run, and the two binaries are compared.
#
#   scripts/demo.sh FOLDER-OF-libLTO.so
#
# Needs the Rust toolchain, gcc and the GNU ld that comes with it. Where a clang from 14 on is there,
# a second part links C and Rust into each other. Fails where anything it says does not hold.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
plugin=$1/libLTO.so
host=$(rustc -vV | sed -n 's/^host: //p')
work=${LTO_BUILD_DIR:-$top/build}/demo
mkdir -p "$work"

# What the user set for other builds must not leak into this one.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR

bold() { if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
say() { printf '  %-22s %s\n' "$1" "$2"; }
die() {
    echo "demo: $*" >&2
    exit 1
}

# The value of a key in a flat part of the statistics file.
value() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p" "$2" | head -n 1; }

# build NAME PACKAGE FLAGS: a program, through gcc and ld.bfd in every case.
build() {
    local name=$1 package=$2 flags=$3
    # The plugin is no input that cargo knows of: link again whatever it thinks.
    rm -f "$work/$name/$host/release"/{"$package",deps/"$package"-*}
    RUSTFLAGS="-Clinker=gcc -Clink-arg=-fuse-ld=bfd $flags" cargo build --quiet --offline --locked --release \
        --manifest-path "$top/demo/Cargo.toml" --package "$package" --target "$host" --target-dir "$work/$name" ||
        die "the $name build of $package failed"
    cp "$work/$name/$host/release/$package" "$work/$package-$name"
}

# functions BINARY PATTERN: the names of the functions that a binary still has, of those that match.
functions() { nm -C --defined-only "$1" | sed -n 's/^[0-9a-f]* [tTwW] //p' | sed 's/::h[0-9a-f]\{16\}$//' | grep -E "$2" | sort -u || true; }

size_of() { wc -c <"$1" | tr -d ' '; }
text_of() { size -A -d "$1" | awk '$1 == ".text" { print $2 }'; }

# --- Rust and Rust -------------------------------------------------------------------------------

bold "Several crates, one optimisation: rustc -Clinker-plugin-lto and plain GNU ld"
say "compiler" "$(rustc --version)"
say "linker" "$(ld.bfd --version | head -n 1), called by gcc $(gcc -dumpfullversion)"
say "plugin" "$plugin ($(($(size_of "$plugin") / 1024)) KiB)"

build plain app ""
stats=$work/app.json
rm -f "$stats"
LTO_STATS=$stats build lto app "-Clinker-plugin-lto=$plugin"
[ -s "$stats" ] || die "the plugin left no statistics: was it loaded at all?"

say "libLLVM" "$(value llvm_version "$stats"), $(value llvm_origin "$stats")"
say "" "$(value llvm_path "$stats")"
say "linker, as it says" "$(value linker "$stats")"
say "modules" "$(value modules "$stats"), $(value bitcode_bytes "$stats") bytes of bitcode"
say "symbols resolved" "$(value symbols_resolved "$stats")"
# "seconds": {"read": 0.001, ...}
sed -n 's/^ *"seconds": {\(.*\)}.*/\1/p' "$stats" | tr ',' '\n' | sed 's/"//g; s/^ *//' |
    while IFS=': ' read -r phase seconds; do say "seconds, $phase" "$seconds"; done

expected=$("$work/app-plain")
[ "$("$work/app-lto")" = "$expected" ] || die "the program says something else after LTO"
say "both programs print" "$expected"
say "size" "$(size_of "$work/app-plain") bytes plain, $(size_of "$work/app-lto") with LTO; code $(text_of "$work/app-plain") and $(text_of "$work/app-lto")"

plain=$(functions "$work/app-plain" '^(scan|tally)::')
lto=$(functions "$work/app-lto" '^(scan|tally)::')
gone=$(comm -23 <(echo "$plain") <(echo "$lto"))
[ -n "$plain" ] || die "the plain program has no function of the other crates to begin with"
[ -n "$gone" ] || die "every function of the other crates is still there"
grep -q '^scan::next_word$' <<<"$gone" || die "scan::next_word was not inlined into app"
echo "  Functions of the crates scan and tally in the plain program, called from the crate app:"
sed 's/^/      /' <<<"$plain"
echo "  Of these gone after LTO, inlined into their caller in another crate:"
sed 's/^/      /' <<<"$gone"

# --- C and Rust ----------------------------------------------------------------------------------

clang=""
for candidate in clang-22 clang-21 clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang; do
    if command -v "$candidate" >/dev/null && [ "$("$candidate" -dumpversion | cut -d. -f1)" -ge 14 ]; then
        clang=$candidate
        break
    fi
done
echo
if [ -z "$clang" ]; then
    bold "C and Rust: no clang from 14 on is installed, so this part is left out"
    exit 0
fi

bold "Two languages, one optimisation: $clang -flto and rustc -Clinker-plugin-lto"
say "compiler of the C side" "$("$clang" --version | head -n 1)"
gcc -O2 -fPIC -c "$top/demo/mixed/c/weigh.c" -o "$work/weigh-plain.o"
"$clang" -O2 -fPIC -flto=thin -c "$top/demo/mixed/c/weigh.c" -o "$work/weigh-lto.o"
build plain mixed "-Clink-arg=$work/weigh-plain.o"
stats=$work/mixed.json
rm -f "$stats"
LTO_STATS=$stats build lto mixed \
    "-Clinker-plugin-lto=$plugin -Clink-arg=$work/weigh-lto.o"
say "libLLVM" "$(value llvm_version "$stats"), $(value llvm_origin "$stats")"

expected=$("$work/mixed-plain")
[ "$("$work/mixed-lto")" = "$expected" ] || die "the mixed program says something else after LTO"
say "both programs print" "$expected"

# instructions BINARY FUNCTION: the disassembly of one function, found by its demangled name, without
# the padding behind it.
instructions() {
    objdump -dC --no-show-raw-insn "$1" | awk -v f="$2" '/^[0-9a-f]+ <.*>:$/ { on = ($0 ~ f) } on && /^ / && !/\tnop|\tcs nop|xchg +%ax,%ax/ { print }'
}
# calls BINARY FUNCTION: how many of its instructions are calls, direct or through a register.
calls() { instructions "$1" "$2" | grep -cE '\s(callq?|blr?|jalr?)\s' || true; }
has() { [ -n "$(functions "$1" "^$2\$")" ]; }

# From Rust into C.
[ "$(calls "$work/mixed-plain" mixed::rust_caller)" -gt 0 ] || die "mixed::rust_caller calls nothing even without LTO"
code=$(instructions "$work/mixed-lto" mixed::rust_caller)
[ -n "$code" ] || die "mixed::rust_caller is gone"
[ "$(calls "$work/mixed-lto" mixed::rust_caller)" = 0 ] || die "mixed::rust_caller still calls"
has "$work/mixed-plain" weigh || die "the plain program has no weigh"
! has "$work/mixed-lto" weigh || die "weigh is still there"
echo "  In the plain program mixed::rust_caller calls the C function weigh for each value. With LTO it has"
echo "  no call, and weigh is gone from the program. The end of its $(wc -l <<<"$code") instructions now:"
tail -n 12 <<<"$code" | cut -f2- | sed 's/^/      /'

# From C into Rust.
has "$work/mixed-plain" rust_limit || die "the plain program has no rust_limit"
! has "$work/mixed-lto" rust_limit || die "rust_limit is still there"
echo "  The Rust function rust_limit, which the C function weigh_all calls, is gone as well."
