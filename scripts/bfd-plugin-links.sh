#!/usr/bin/env bash
# Puts the library into the folders from which binutils loads plugins, or takes it out again.
#
#   bfd-plugin-links.sh where                                  the folder that this system's nm reads
#   bfd-plugin-links.sh add|remove DESTDIR LIBRARY FOLDER...
#
# A folder that cannot be written is only reported: it may be the system's while the library goes to
# a user's own prefix. A file of that name that is not our own link is left as it is.
set -euo pipefail

# binutils asks each plugin in turn until one claims the file, and reads the multiarch folder before
# the plain one, where Debian puts every LLVM's own plugin. One of those of an older LLVM would fail
# on newer bitcode before we were asked, so the multiarch folder it is where there is one.
if [ "$1" = where ]; then
    nm=$(command -v nm) || exit 0
    lib=$(dirname "$(dirname "$nm")")/lib
    multiarch=$lib/$(gcc -print-multiarch 2>/dev/null || true)/bfd-plugins
    if [ -d "$multiarch" ]; then realpath -ms "$multiarch"; else realpath -ms "$lib/bfd-plugins"; fi
    exit 0
fi

what=$1 destdir=$2 library=$3
shift 3

for folder in "$@"; do
    link=$destdir$folder/libLTO.so
    # Relative, so that a tree installed under DESTDIR works wherever it is unpacked.
    target=$(realpath -m --relative-to="$folder" "$library")
    if [ -e "$link" ] || [ -L "$link" ]; then
        if [ "$(readlink "$link" || true)" != "$target" ]; then
            [ "$what" = add ] && echo "note: $link is not ours and stays as it is" >&2
            continue
        fi
    fi
    case $what in
        add)
            if ! { mkdir -p "$destdir$folder" && ln -sfn "$target" "$link"; } 2>/dev/null; then
                echo "note: $destdir$folder cannot be written, so nm, ar and ranlib that load plugins from there need --plugin $library" >&2
            fi
            ;;
        remove)
            [ ! -L "$link" ] || rm -f "$link" 2>/dev/null || echo "note: $link cannot be removed" >&2
            rmdir --ignore-fail-on-non-empty "$destdir$folder" 2>/dev/null || true
            ;;
        *)
            echo "bfd-plugin-links: add or remove, not '$what'" >&2
            exit 2
            ;;
    esac
done
