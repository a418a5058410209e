/* Regular LTO through any libLTO, so that two libraries can be compared on the same inputs.
 *
 *   drive LIBRARY [options] FILE...
 *     -o FILE        write the object                  -m FILE   write the merged modules first
 *     -M FILE        write them after optimizing       -p NAME   must be preserved
 *     -P FILE        preserve the names in a file      -r N      relocation model 0 to 3
 *     -c CPU         processor                         -d OPTION one debug option
 *     -D STRING      several in one string             -n        do not internalize
 *     -f             compile to a file                 -s        optimize and compile in two steps
 *     -i             modules from memory, not in the code generator's context
 *     -u             embed the order of uses in merged modules
 *     -T TRIPLE      set the triple of the files that follow
 * Every diagnostic goes to standard output; the exit status is 1 after a failure. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <llvm-c/lto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *library;

static void *find(const char *name) {
  void *address = dlsym(library, name);
  if (!address) {
    fprintf(stderr, "no %s\n", name);
    exit(2);
  }
  return address;
}
#define CALL(name) ((__typeof__(&name))find(#name))

static void handler(lto_codegen_diagnostic_severity_t severity, const char *text, void *context) {
  (void)context;
  printf("diagnostic %d: %s\n", (int)severity, text);
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
  bytes[*size] = 0;
  fclose(file);
  return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
    perror(path);
    exit(2);
  }
}

static int failed(const char *what) {
  printf("%s failed: %s\n", what, CALL(lto_get_error_message)());
  return 1;
}

int main(int argc, char **argv) {
  const char *object = NULL, *merged = NULL, *optimized = NULL, *triple = NULL;
  int to_file = 0, two_steps = 0, from_memory = 0;
  if (argc < 2 || !(library = dlopen(argv[1], RTLD_NOW))) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: drive LIBRARY ..." : dlerror());
    return 2;
  }
  lto_code_gen_t cg = CALL(lto_codegen_create_in_local_context)();
  CALL(lto_codegen_set_diagnostic_handler)(cg, handler, NULL);
  CALL(lto_codegen_set_pic_model)(cg, LTO_CODEGEN_PIC_MODEL_DEFAULT);
  const char *options[64];
  int number = 0;
  for (int i = 2; i < argc; i++) {
    const char *arg = argv[i];
    if (arg[0] != '-') {
      size_t size;
      void *bytes = read_file(arg, &size);
      lto_module_t module =
          from_memory
              ? CALL(lto_module_create_from_memory_with_path)(bytes, size, arg)
              : CALL(lto_module_create_in_codegen_context)(bytes, size, arg, cg);
      if (!module)
        return failed(arg);
      /* The memory is no longer needed: a library that still looks at it reads garbage. */
      memset(bytes, 0x5a, size);
      free(bytes);
      if (triple)
        CALL(lto_module_set_target_triple)(module, triple);
      if (CALL(lto_codegen_add_module)(cg, module))
        return failed(arg);
      CALL(lto_module_dispose)(module);
      continue;
    }
    const char *value = strchr("omMpPrcdDT", arg[1]) ? argv[++i] : NULL;
    switch (arg[1]) {
    case 'o': object = value; break;
    case 'm': merged = value; break;
    case 'M': optimized = value; break;
    case 'p': CALL(lto_codegen_add_must_preserve_symbol)(cg, value); break;
    case 'P': {
      size_t size;
      char *names = read_file(value, &size);
      for (char *name = strtok(names, "\n"); name; name = strtok(NULL, "\n"))
        CALL(lto_codegen_add_must_preserve_symbol)(cg, name);
      break;
    }
    case 'r': CALL(lto_codegen_set_pic_model)(cg, (lto_codegen_model)atoi(value)); break;
    case 'c': CALL(lto_codegen_set_cpu)(cg, value); break;
    case 'd': options[number++] = value; break;
    case 'D': CALL(lto_codegen_debug_options)(cg, value); break;
    case 'n': CALL(lto_codegen_set_should_internalize)(cg, 0); break;
    case 'f': to_file = 1; break;
    case 's': two_steps = 1; break;
    case 'i': from_memory = 1; break;
    case 'T': triple = value; break;
    case 'u': CALL(lto_codegen_set_should_embed_uselists)(cg, 1); break;
    default: fprintf(stderr, "what is %s\n", arg); return 2;
    }
  }
  CALL(lto_codegen_debug_options_array)(cg, number ? options : NULL, number);
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (merged && CALL(lto_codegen_write_merged_modules)(cg, merged))
    return failed("write_merged_modules");
  if (optimized || two_steps) {
    if (CALL(lto_codegen_optimize)(cg))
      return failed("optimize");
    if (optimized && CALL(lto_codegen_write_merged_modules)(cg, optimized))
      return failed("write_merged_modules");
  }
  if (object && to_file) {
    const char *name = NULL;
    if (CALL(lto_codegen_compile_to_file)(cg, &name))
      return failed("compile_to_file");
    size_t size;
    void *bytes = read_file(name, &size);
    write_file(object, bytes, size);
    remove(name);
    free(bytes);
  } else if (object) {
    size_t size = 0;
    const void *bytes = optimized || two_steps ? CALL(lto_codegen_compile_optimized)(cg, &size)
                                               : CALL(lto_codegen_compile)(cg, &size);
    if (!bytes)
      return failed("compile");
    write_file(object, bytes, size);
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  fprintf(stderr, "%.3f s\n",
          (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec));
  CALL(lto_codegen_dispose)(cg);
  return 0;
}
