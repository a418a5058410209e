# Sourced by scripts that link folders of bitcode.

# The object files in the current folder, and below, that are bitcode; native ones among them are the
# linker's business.
bitcode_files() {
  find . -name '*.o' | sed 's|^\./||' | sort | while read -r file; do
    case $(head -c 4 "$file" | od -An -tx1 | tr -d ' ') in 4243c0de | dec0170b) echo "$file" ;; esac
  done
}
