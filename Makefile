# make            build the library and its worker (release)
# make test       install what the tests need, build, run every test
# make demo       a program of several crates, linked by plain GNU ld through the library
# make bench      the measurements of docs/benchmarks.md, beside LLVM's own libLTO
# make headers    renew include/ from the sources
# make install    PREFIX=/usr/local DESTDIR=   (BFDPLUGINDIR=folder, or none)
# make uninstall  with the same variables

CARGO ?= cargo
PROFILE ?= release
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
LIBEXECDIR ?= $(PREFIX)/libexec
BINDIR ?= $(PREFIX)/bin

# Programs for people, which go to BINDIR; lto-worker is the library's own.
programs := lto-cgdata lto-index

target_dir := $(or $(CARGO_TARGET_DIR),target)
# cargo's dev profile writes to a folder of another name.
out := $(target_dir)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# The soname counts breaks of the C ABI, of which there has been none since the first libLTO: LLVM
# only ever adds functions. The file's name carries LTO_API_VERSION, which counts those additions.
# build.rs gives the linker the same soname.
soname := libLTO.so.1
file := $(soname).$(shell sed -n 's/^\#define LTO_API_VERSION \([0-9]*\)$$/\1/p' include/llvm-c/lto.h 2>/dev/null)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# nm, ar and ranlib load every plugin of the bfd-plugins folders beside their own place, which is
# not ours when they are the system's and we are under /usr/local. So the link goes to both.
BFDPLUGINDIR ?= $(shell scripts/bfd-plugin-links.sh where)
bfd_plugin_dirs := $(sort $(PREFIX)/lib/bfd-plugins $(filter-out none,$(BFDPLUGINDIR)))

.PHONY: all build test demo bench headers install uninstall clean

all: build

build:
	$(CARGO) build --locked --profile $(PROFILE)

test:
	scripts/install-test-deps.sh
	scripts/build-inputs.sh
	$(CARGO) test --locked

demo: build
	scripts/demo.sh $(abspath $(out))

bench: build
	scripts/bench.sh $(abspath $(out))

headers:
	scripts/headers.sh

install: build
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)/llvm-c' '$(DESTDIR)$(LIBEXECDIR)/liblto' '$(DESTDIR)$(BINDIR)'
	install -m 755 '$(out)/libLTO.so' '$(DESTDIR)$(LIBDIR)/$(file)'
	ln -sfn '$(file)' '$(DESTDIR)$(LIBDIR)/$(soname)'
	ln -sfn '$(soname)' '$(DESTDIR)$(LIBDIR)/libLTO.so'
	install -m 755 '$(out)/lto-worker' '$(DESTDIR)$(LIBEXECDIR)/liblto/lto-worker'
	install -m 755 $(programs:%='$(out)/%') '$(DESTDIR)$(BINDIR)/'
	install -m 644 include/llvm-c/*.h '$(DESTDIR)$(INCLUDEDIR)/llvm-c/'
	install -m 644 include/*.h '$(DESTDIR)$(INCLUDEDIR)/'
	sed -e 's|@prefix@|$(PREFIX)|; s|@libdir@|$(LIBDIR)|; s|@includedir@|$(INCLUDEDIR)|' \
	    -e 's|@libexecdir@|$(LIBEXECDIR)|; s|@version@|$(version)|' \
	    scripts/libLTO.pc.in > '$(DESTDIR)$(LIBDIR)/pkgconfig/libLTO.pc'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/libLTO.pc'
	scripts/bfd-plugin-links.sh add '$(DESTDIR)' '$(LIBDIR)/$(soname)' $(bfd_plugin_dirs)

uninstall:
	scripts/bfd-plugin-links.sh remove '$(DESTDIR)' '$(LIBDIR)/$(soname)' $(bfd_plugin_dirs)
	rm -f '$(DESTDIR)$(LIBDIR)/$(file)' '$(DESTDIR)$(LIBDIR)/$(soname)' '$(DESTDIR)$(LIBDIR)/libLTO.so'
	rm -f '$(DESTDIR)$(LIBEXECDIR)/liblto/lto-worker' '$(DESTDIR)$(LIBDIR)/pkgconfig/libLTO.pc'
	rm -f $(programs:%='$(DESTDIR)$(BINDIR)/%')
	rm -f $(patsubst include/%,'$(DESTDIR)$(INCLUDEDIR)/%',$(wildcard include/*.h include/llvm-c/*.h))
	-rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(LIBEXECDIR)/liblto' '$(DESTDIR)$(INCLUDEDIR)/llvm-c' \
	    '$(DESTDIR)$(LIBDIR)/pkgconfig' 2>/dev/null

clean:
	$(CARGO) clean
	rm -rf build
