#!/usr/bin/env bash
# Rust programs of many crates, linked with -Clinker-plugin-lto by every linker there is, and tried.
#
#   scripts/rust-programs.sh PLUGIN [LINKER...]
#
# In:  our library, and the linkers: bfd, gold, mold, wild; without any, those that are installed. The
#      crates of the versions below with the dependencies of their own lock files, fetched by cargo.
# Out: $LTO_BUILD_DIR/rust-programs/bin/PROGRAM.LINKER, and a line for each: how many modules were
#      linked, and whether the program does what it is for. Exits 1 where one does not.
#
# Each program is compiled once: what rustc takes for the linker links with one after the other.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
plugin=$(realpath "${1:?our library}")
shift
build=${LTO_BUILD_DIR:-$top/build}/rust-programs
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$build/bin" "$build/wild"

linkers=("$@")
if [ ${#linkers[@]} = 0 ]; then
    for name in bfd gold mold wild; do
        program=ld.$name
        case $name in mold | wild) program=$name ;; esac
        if command -v "$program" > /dev/null; then linkers+=("$name"); else echo "no $name here"; fi
    done
fi

# gcc knows no wild by name, but takes any ld.bfd of a folder. (rustc asks for lld; the last word counts.)
if command -v wild > /dev/null; then ln -sf "$(command -v wild)" "$build/wild/ld.bfd"; fi

cat > "$build/linker" <<'END'
#!/usr/bin/env bash
# What rustc calls. The first linker's program is the one that cargo gets.
set -eu
output=
previous=
for argument in "$@"; do
    [ "$previous" = -o ] && output=$argument
    previous=$argument
done
name=$(basename "$output")
name=${name%-*}
first=
for linker in $LINKERS; do
    case $linker in
        wild) choice=(-fuse-ld=bfd "-B$BUILD/wild") ;;
        *) choice=("-fuse-ld=$linker") ;;
    esac
    program=$BUILD/bin/$name.$linker
    rm -f "$program"
    # Most objects are the same for all linkers.
    if LTO_STATS=$program.json gcc "$@" "-Wl,-plugin-opt=cache-dir=$BUILD/cache" \
        "${choice[@]}" -o "$program" 2> "$program.log"; then
        [ -n "$first" ] || first=$program
    fi
done
[ -n "$first" ] || { cat "$BUILD"/bin/*.log >&2; exit 1; }
cp "$first" "$output"
END
chmod +x "$build/linker"

# What an outer cargo or a user set for other builds must not leak into these.
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_LTO=off
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=none
export BUILD=$build LINKERS="${linkers[*]}"
# With --target, the flags reach the program but not build scripts and procedural macros.
export RUSTFLAGS="-Clinker-plugin-lto=$plugin -Clinker=$build/linker"

# compile CRATE VERSION PROGRAM [OPTION...]
compile() {
    local crate=$1 version=$2 program=$3
    shift 3
    rm -f "$build/target/$crate/$host/release/$program" \
        "$build/target/$crate/$host/release/deps/$program"-* "$build/bin/$program".*
    cargo install --quiet --locked --force --target "$host" --version "$version" "$@" \
        --root "$build/root" --target-dir "$build/target/$crate" "$crate" || true
}

wrong=0
# try PROGRAM COMMAND...: runs COMMAND with each linked program as its last argument.
try() {
    local program=$1 linker
    shift
    for linker in "${linkers[@]}"; do
        local linked=$build/bin/$program.$linker
        if [ ! -x "$linked" ]; then
            echo "$program $linker: not linked: $(head -n 1 "$linked.log" 2> /dev/null)"
            wrong=1
        elif "$@" "$linked"; then
            local modules
            modules=$(grep -o '"thin_modules": [0-9]*' "$linked.json" | head -n 1 | cut -d' ' -f2)
            echo "$program $linker: works; ${modules:-?} modules," \
                "$(stat -c %s "$linked") bytes"
        else
            echo "$program $linker: does not do what it is for"
            wrong=1
        fi
    done
}

# Every "fn" in this project's sources, as grep finds them.
search() {
    local found expected
    found=$("$1" --no-config --no-ignore -j2 -c --sort path '\bfn \w+\(' "$top/src" | sort)
    expected=$(grep -rcE '\bfn \w+\(' "$top/src" | grep -v ':0$' | sort)
    [ -n "$found" ] && [ "$found" = "$expected" ]
}

# A book of two chapters becomes pages with what the chapters say.
book() {
    local folder=$build/book
    rm -rf "$folder"
    mkdir -p "$folder/src"
    printf '[book]\ntitle = "A book"\n' > "$folder/book.toml"
    printf '# Summary\n\n- [One](one.md)\n- [Two](two.md)\n' > "$folder/src/SUMMARY.md"
    printf '# One\n\nSome *words* and `code`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n' \
        > "$folder/src/one.md"
    printf '# Two\n\n```rust\nfn main() {}\n```\n\nSee [one](one.md).\n' > "$folder/src/two.md"
    "$1" build "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; return 1; }
    grep -q '<em>words</em> and <code[^>]*>code</code>' "$folder/book/one.html" &&
        grep -q '<td>1</td><td>2</td>' "$folder/book/one.html" &&
        grep -q 'href="one.html"' "$folder/book/two.html" &&
        cat "$folder"/book/searchindex*.js | grep -q 'words'
}

compile ripgrep 15.2.0 rg
try rg search
compile mdbook 0.4.52 mdbook --no-default-features --features search
try mdbook book
exit $wrong
