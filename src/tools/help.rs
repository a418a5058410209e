//! The texts of `--help`.
//!
//! In: nothing. Out: what the options of `llvm-lto2 run` and `llvm-lto` are, for people.

/// Of `llvm-lto2 run`.
pub(super) const LTO2: &str = "\
OVERVIEW: Resolution-based LTO
USAGE: llvm-lto2 run [options] <input bitcode files>

OPTIONS:

Link:

  -o=<filename>                        - Output; objects are <filename>.<task>
  -r=<file>,<symbol>,<resolution>      - What the linker said of a symbol: p prevailing, l local, x visible outside,
                                         r redefined by the linker
  -O<0-3>                              - Optimization level (2)
  --cg-opt-level=<0-3>                 - Code generation's level (2)
  --unified-lto=full|thin|default      - How modules made for either take part
  --thinlto-threads=<n>|all            - Threads, or modules compiled at a time
  --opt-pipeline=<passes>              - Passes in place of LTO's own
  --aa-pipeline=<analyses>             - Alias analyses in place of LLVM's own, where libLLVM's C API can
  --cache-dir=<directory>              - Objects of earlier links
  --filetype=obj|asm                   - What is made
  --override-triple=<triple>           - The target, whatever modules say
  --default-triple=<triple>            - The target of modules that do not say
  --lto-freestanding                   - No function is one of the standard library's
  --lto-cspgo-profile-file=<filename>  - The profile of instrumented code
  --lto-sample-profile-file=<filename> - The profile of samples

Distributed builds:

  --thinlto-distributed-indexes        - An index for each module in place of objects
  --thinlto-emit-indexes               - The same, and objects
  --thinlto-emit-imports               - Lists of imports, too
  --thinlto-index-only=<filename>      - Where to list the modules
  --thinlto-prefix-replace=<old;new>   - Where the files go
  --llvm-version=<n>                   - The LLVM whose indexes are written

What else is left:

  --save-temps                         - The module after each step
  --select-save-temps=<steps>          - After these: resolution,preopt,promote,internalize,import,opt,precodegen,
                                         combinedindex
  --pass-remarks-output=<filename>     - Optimization remarks; also -filter=, -format=, -with-hotness,
                                         -hotness-threshold=
  --stats-file=<filename>              - Counts
  --time-trace                         - Times, in <output>.time-trace or --time-trace-file=<filename>; those of
                                         --time-trace-granularity=<microseconds> (500) and more
  --debug-pass-manager                 - Print each pass as it runs
  --print-import-failures              - Print what is not imported, and why
  --print-summary-global-ids           - Print GUIDs
  --dump-thin-cg-sccs                  - Print which functions call one another

Those of code generation (--mcpu=, --mattr=, --relocation-model=, --code-model=, --function-sections,
--data-sections, ...), of the thin link (--import-instr-limit=, ...) and of libLLVM are taken as well.

  --help                               - Display this
  --version                            - Display the version
";

/// Of `llvm-lto`.
pub(super) const LTO: &str = "\
OVERVIEW: llvm LTO linker

USAGE: llvm-lto [options] <input bitcode files>

OPTIONS:

Color Options:

  --color                                      - Use colors where libLLVM has them

Generic Options:

  --help                                       - Display this
  --version                                    - Display the version

LTO Options:

  -O<0-3>                                      - Optimization level (2)
  -j<n>                                        - Parts that code is generated in
  -o=<filename>                                - Output
  --check-for-objc                             - Say whether there is Objective-C in files
  --debug-pass-manager                         - Print each pass as it runs
  --disable-verify                             - Do not verify modules before and after optimization
  --dso-symbol=<symbol>                        - A symbol that a shared library has
  --exported-symbol=<symbol>                   - A symbol that something else uses
  --filetype=obj|asm                           - What is made
  --list-dependent-libraries-only              - List the libraries that files ask for
  --list-symbols-only                          - List the symbols of files
  --llvm-version=<n>                           - The LLVM whose indexes are written
  --lto-freestanding                           - No function is one of the standard library's
  --lto-save-before-opt                        - Leave <output>.0.preopt.bc
  --print-macho-cpu-only                       - Print the Mach-O numbers of the processor
  --query-hasCtorDtor                          - Say whether files have constructors or destructors
  --restore-linkage                            - Give local symbols their linkage back
  --save-linked-module                         - Leave <output>.linked.bc
  --save-merged-module                         - Leave <output>.merged.bc
  --set-merged-module                          - Link into the first module
  --thinlto                                    - Write a combined index, resolved
  --thinlto-action=<action>                    - One step of ThinLTO, or all:
    =thinlink|distributedindexes|emitimports|promote|import|internalize|optimize|codegen|run
  --thinlto-cache-dir=<directory>              - Objects of earlier links
  --thinlto-cache-entry-expiration=<seconds>   - When they go
  --thinlto-cache-max-size-bytes=<n>           - How much they may take
  --thinlto-cache-max-size-files=<n>           - How many there may be
  --thinlto-cache-pruning-interval=<seconds>   - How often to look
  --thinlto-index=<filename>                   - The combined index
  --thinlto-index-stats                        - Print what is in indexes
  --thinlto-module-id=<name>                   - The module's name in the index
  --thinlto-prefix-replace=<old;new>           - Where files of distributed builds go
  --thinlto-save-objects=<directory>           - Where to leave objects
  --thinlto-save-temps=<prefix>                - Where to leave the module after each step
  --use-diagnostic-handler                     - Taken, and changes nothing
";
