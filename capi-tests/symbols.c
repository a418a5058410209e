/* Prints all that a libLTO tells of the modules in files, so that two libraries can be compared.
 *
 *   symbols LIBRARY [-m | -t] FILE...
 *     -m   by lto_module_create_from_memory_with_path instead of ..._in_local_context
 *     -t   print nothing but the milliseconds that listing all of them took */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <llvm-c/lto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *library;
#define CALL(name) ((__typeof__(&name))find(#name))

static void *find(const char *name) {
  void *address = dlsym(library, name);
  if (!address) {
    fprintf(stderr, "no %s\n", name);
    exit(2);
  }
  return address;
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(2);
  }
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (fread(bytes, 1, *size, file) != *size) {
    perror(path);
    exit(2);
  }
  fclose(file);
  return bytes;
}

static void print(const char *path, lto_module_t module, const void *bytes, size_t size) {
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  unsigned cpu = 0, subtype = 0;
  printf("%s\n  triple %s\n  linkeropts%s\n", path, CALL(lto_module_get_target_triple)(module),
         CALL(lto_module_get_linkeropts)(module));
  int failed = CALL(lto_module_get_macho_cputype)(module, &cpu, &subtype);
  printf("  thin %d ctors %d objc %d cpu %d %#x/%#x\n", CALL(lto_module_is_thinlto)(module),
         CALL(lto_module_has_ctor_dtor)(module), CALL(lto_module_has_objc_category)(bytes, size),
         failed, failed ? 0 : cpu, failed ? 0 : subtype);
  for (unsigned i = 0; i < n; i++)
    printf("  %#06x %s\n", (unsigned)CALL(lto_module_get_symbol_attribute)(module, i),
           CALL(lto_module_get_symbol_name)(module, i));
  unsigned (*count)(lto_module_t) = dlsym(library, "lto_module_get_num_asm_undef_symbols");
  const char *(*name)(lto_module_t, unsigned) =
      dlsym(library, "lto_module_get_asm_undef_symbol_name");
  for (unsigned i = 0; count && i < count(module); i++)
    printf("  asm %s\n", name(module, i));
}

int main(int argc, char **argv) {
  int from_memory = 0, timing = 0, status = 0;
  if (argc < 2 || !(library = dlopen(argv[1], RTLD_NOW))) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: symbols LIBRARY FILE..." : dlerror());
    return 2;
  }
  __typeof__(&lto_module_create_in_local_context) create =
      CALL(lto_module_create_in_local_context);
  struct timespec from, to;
  void **buffers = calloc((size_t)argc, sizeof(void *));
  size_t *sizes = calloc((size_t)argc, sizeof(size_t));
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "-m"))
      from_memory = 1;
    else if (!strcmp(argv[i], "-t"))
      timing = 1;
    else
      buffers[i] = read_file(argv[i], &sizes[i]);
  }
  if (from_memory)
    create = CALL(lto_module_create_from_memory_with_path);
  __typeof__(&lto_module_get_num_symbols) number = CALL(lto_module_get_num_symbols);
  __typeof__(&lto_module_get_symbol_name) name = CALL(lto_module_get_symbol_name);
  __typeof__(&lto_module_get_symbol_attribute) attribute = CALL(lto_module_get_symbol_attribute);
  __typeof__(&lto_module_dispose) dispose = CALL(lto_module_dispose);
  unsigned long sum = 0;
  /* The second round is the one that counts: memory and code are warm then. */
  for (int round = 0; round < (timing ? 2 : 1); round++) {
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 2; i < argc; i++) {
      if (!buffers[i])
        continue;
      lto_module_t module = create(buffers[i], sizes[i], argv[i]);
      if (!module) {
        printf("%s failed: %s\n", argv[i], CALL(lto_get_error_message)());
        status = 1;
        continue;
      }
      if (timing)
        for (unsigned s = 0, n = number(module); s < n; s++)
          sum = sum * 31 + attribute(module, s) + strlen(name(module, s));
      else
        print(argv[i], module, buffers[i], sizes[i]);
      dispose(module);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
  }
  if (timing)
    printf("%.3f ms, %lx\n",
           1e3 * (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_nsec - from.tv_nsec),
           sum);
  return status;
}
