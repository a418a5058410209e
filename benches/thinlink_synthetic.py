#!/usr/bin/env python3
"""Makes a link as large as one likes: N modules of 40 functions that call one another's.

usage: thinlink_synthetic.py OUT N [CLANG]

OUT gets N bitcode files, a thousand to a folder, and `resolutions`, which `llvm-lto2 run
@OUT/resolutions` takes from within OUT. All modules are copies of one that CLANG (clang-22) compiles,
with other numbers in their names: a symbol's name stands once, as bytes, in the string table, so that
nothing in the file moves while names keep their length. A function of a module calls the next one
there, one of a module close by, one of a module far away, and one of a thousand that everybody
calls; each module has an inline function of a header, of which there are so a thousand copies.
main is in the first module and reaches everything.
"""

import os
import subprocess
import sys
import tempfile

FUNCTIONS = 40
# Stand-ins for numbers of six digits: this module, one close by, one far away, one of a thousand.
OWN, NEAR, FAR, POPULAR = "AAAAAA", "BBBBBB", "CCCCCC", "DDDDDD"
SYMBOLS = (
    [(f"f_{OWN}_{n:02}", "pl") for n in range(FUNCTIONS)]
    + [(f"f_{NEAR}_{n:02}", "") for n in range(0, FUNCTIONS, 2)]
    + [(f"f_{FAR}_{n:02}", "") for n in range(1, FUNCTIONS, 4)]
    + [(f"f_{POPULAR}_00", ""), (f"g_{POPULAR}", ""), (f"v_{OWN}", "pl")]
)


def template(clang):
    source = f"extern int f_{POPULAR}_00(int);\nint v_{OWN};\n"
    source += f"inline int g_{POPULAR}(int x) {{ return x * 5 + v_{OWN}; }}\n"
    for n in range(FUNCTIONS):
        source += f"extern int f_{NEAR}_{n:02}(int), f_{FAR}_{n:02}(int), f_{OWN}_{n:02}(int);\n"
    for n in range(FUNCTIONS):
        calls = [f"f_{OWN}_{(n + 1) % FUNCTIONS:02}(x)"] if n + 1 < FUNCTIONS else ["x"]
        if n % 2 == 0:
            calls.append(f"f_{NEAR}_{n:02}(x + 1)")
        if n % 4 == 1:
            calls.append(f"f_{FAR}_{n:02}(x + 2)")
        if n % 8 == 0:
            calls += [f"f_{POPULAR}_00(x)", f"g_{POPULAR}(x)"]
        # About 40 instructions, so that imports end after a few steps.
        work = "x = x * 3 ^ (x >> 5); " * 10
        source += f"int f_{OWN}_{n:02}(int x) {{ {work} return {' + '.join(calls)} + v_{OWN}; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.cpp")
        with open(path, "w") as f:
            f.write('extern "C" {\n' + source + "}\n")
        # Nothing is inlined before, and yet all is free to be imported.
        flags = ["-O1", "-fno-exceptions", "-flto=thin"]
        for threshold in ["inline-threshold", "inlinehint-threshold"]:
            flags += ["-mllvm", f"-{threshold}=-10000"]
        subprocess.run([clang, *flags, "-c", "-o", path + ".o", path], check=True)
        with open(path + ".o", "rb") as f:
            return f.read()


def main():
    out, count = sys.argv[1], int(sys.argv[2])
    module = template(sys.argv[3] if len(sys.argv) > 3 else "clang-22")
    order = sorted(name for name, _ in SYMBOLS)
    assert all(name.encode() in module for name in order), "the compiler left a symbol out"
    os.makedirs(out, exist_ok=True)
    popular_seen = set()
    with open(os.path.join(out, "resolutions"), "w") as resolutions:
        for m in range(count):
            numbers = {
                OWN: f"{m:06}",
                NEAR: f"{(m + 1) % count:06}",
                FAR: f"{(m * 7919 + 13) % count:06}",
                POPULAR: f"{m % min(1000, count):06}",
            }
            if m % 1000 == 0:
                os.makedirs(os.path.join(out, f"{m // 1000:03}"), exist_ok=True)
            path = f"{m // 1000:03}/{m:06}.o"
            data = module
            for stand_in, number in numbers.items():
                data = data.replace(stand_in.encode(), number.encode())
            with open(os.path.join(out, path), "wb") as f:
                f.write(data)
            lines = [path]
            said = set()
            for name, letters in SYMBOLS:
                for stand_in, number in numbers.items():
                    name = name.replace(stand_in, number)
                if name.startswith("g_"):
                    letters = "l" if name in popular_seen else "pl"
                    popular_seen.add(name)
                if m == 0 and name == "f_000000_00" and letters:
                    letters = "plx"
                lines.append(f"-r={path},{name},{letters}")
            resolutions.write("\n".join(lines) + "\n")


main()
