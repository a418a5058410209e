#!/usr/bin/env python3
"""Makes a large link out of a small one: K copies of a program's modules, with renamed symbols.

usage: thinlink_copies.py FOLDER OUT K

FOLDER holds bitcode files, OUT gets K of each, as copyN/FILE. In every copy but the first the word
"rocksdb" becomes "rock" and a number of three digits, so that names keep their length and nothing
in the files moves: a symbol's name stands once, as bytes, in the string table. What does not have
the word in its name (std:: templates, C libraries) stays shared between the copies, as inline
functions of headers are in real programs; link with -z muldefs.
"""

import os
import sys


def main():
    folder, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    files = sorted(name for name in os.listdir(folder) if name.endswith(".o"))
    for copy in range(count):
        target = os.path.join(out, f"copy{copy}")
        os.makedirs(target, exist_ok=True)
        for name in files:
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            if copy:
                data = data.replace(b"rocksdb", b"rock%03d" % copy)
            with open(os.path.join(target, name), "wb") as f:
                f.write(data)


main()
