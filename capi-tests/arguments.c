/* Every function, called with good, null, stale, wrong-kind and garbage arguments: a wrong one
 * gives the failure value and a message that names the function, and changes nothing.
 *
 *   arguments LIBRARY BITCODE */

#include "check.h"

#include <fcntl.h>
#include <unistd.h>

/* The last call was a misuse, and the message begins with the function's name. */
#define REFUSED(name, condition)                                                                  \
  do {                                                                                            \
    CHECK(condition);                                                                             \
    CHECK(!strncmp(message(), #name ": ", strlen(#name ": ")));                                   \
  } while (0)

/* Makes the message one that no other call makes. */
static void forget(void) { CALL(lto_module_dispose)((lto_module_t)(uintptr_t)0x5eed); }

#define EXPECT(name, failed, ...)                                                                 \
  do {                                                                                            \
    forget();                                                                                     \
    __typeof__(CALL(name)(__VA_ARGS__)) result = CALL(name)(__VA_ARGS__);                         \
    REFUSED(name, result == (failed));                                                            \
  } while (0)

#define EXPECT_VOID(name, ...)                                                                    \
  do {                                                                                            \
    forget();                                                                                     \
    CALL(name)(__VA_ARGS__);                                                                      \
    REFUSED(name, 1);                                                                             \
  } while (0)

/* Values that are no handle of a module, of a code generator and so on. */
static void *bad[16];
static int number_of_bad;

static void bad_modules(void) {
  for (int i = 0; i < number_of_bad; i++) {
    lto_module_t mod = (lto_module_t)bad[i];
    unsigned a = 7, b = 7;
    EXPECT_VOID(lto_module_dispose, mod);
    EXPECT(lto_module_get_target_triple, NULL, mod);
    EXPECT_VOID(lto_module_set_target_triple, mod, "x86_64");
    EXPECT(lto_module_get_num_symbols, 0, mod);
    EXPECT(lto_module_get_symbol_name, NULL, mod, 0);
    EXPECT(lto_module_get_symbol_attribute, 0, mod, 0);
    EXPECT(lto_module_get_num_asm_undef_symbols, 0, mod);
    EXPECT(lto_module_get_asm_undef_symbol_name, NULL, mod, 0);
    EXPECT(lto_module_get_linkeropts, NULL, mod);
    EXPECT(lto_module_get_macho_cputype, true, mod, &a, &b);
    CHECK(a == 7 && b == 7);
    EXPECT(lto_module_has_ctor_dtor, false, mod);
    EXPECT(lto_module_is_thinlto, false, mod);
    lto_code_gen_t cg = CALL(lto_codegen_create)();
    EXPECT(lto_codegen_add_module, true, cg, mod);
    EXPECT_VOID(lto_codegen_set_module, cg, mod);
    CALL(lto_codegen_dispose)(cg);
  }
}

static void handler(lto_codegen_diagnostic_severity_t severity, const char *text, void *context) {
  (void)severity, (void)text, (void)context;
}

static void bad_code_generators(const char *path, const void *bytes, size_t size) {
  for (int i = 0; i < number_of_bad; i++) {
    lto_code_gen_t cg = (lto_code_gen_t)bad[i];
    size_t length = 7;
    const char *name = "untouched";
    const char *option = "-x";
    lto_module_t good = CALL(lto_module_create)(path);
    EXPECT_VOID(lto_codegen_set_diagnostic_handler, cg, handler, NULL);
    EXPECT_VOID(lto_codegen_dispose, cg);
    EXPECT(lto_codegen_add_module, true, cg, good);
    EXPECT_VOID(lto_codegen_set_module, cg, good);
    EXPECT(lto_codegen_set_debug_model, true, cg, LTO_DEBUG_MODEL_DWARF);
    EXPECT(lto_codegen_set_pic_model, true, cg, LTO_CODEGEN_PIC_MODEL_DYNAMIC);
    EXPECT_VOID(lto_codegen_set_cpu, cg, "generic");
    EXPECT_VOID(lto_codegen_set_assembler_path, cg, "/usr/bin/as");
    EXPECT_VOID(lto_codegen_set_assembler_args, cg, &option, 1);
    EXPECT_VOID(lto_codegen_add_must_preserve_symbol, cg, "main");
    EXPECT(lto_codegen_write_merged_modules, true, cg, "/nonexistent/merged.bc");
    EXPECT(lto_codegen_compile, NULL, cg, &length);
    EXPECT(lto_codegen_compile_to_file, true, cg, &name);
    EXPECT(lto_codegen_optimize, true, cg);
    EXPECT(lto_codegen_compile_optimized, NULL, cg, &length);
    CHECK(length == 7 && !strcmp(name, "untouched"));
    EXPECT_VOID(lto_codegen_debug_options, cg, "-x");
    EXPECT_VOID(lto_codegen_debug_options_array, cg, &option, 1);
    EXPECT_VOID(lto_codegen_set_should_internalize, cg, true);
    EXPECT_VOID(lto_codegen_set_should_embed_uselists, cg, true);
    EXPECT(lto_module_create_in_codegen_context, NULL, bytes, size, path, cg);
    /* The module was not taken by any of these. */
    CHECK(CALL(lto_module_get_num_symbols)(good) > 0);
    CALL(lto_module_dispose)(good);
  }
}

static void bad_thin_code_generators(const char *bytes, int size) {
  for (int i = 0; i < number_of_bad; i++) {
    thinlto_code_gen_t cg = (thinlto_code_gen_t)bad[i];
    EXPECT_VOID(thinlto_codegen_dispose, cg);
    EXPECT_VOID(thinlto_codegen_add_module, cg, "a", bytes, size);
    EXPECT_VOID(thinlto_codegen_process, cg);
    EXPECT(thinlto_module_get_num_objects, 0, cg);
    forget();
    LTOObjectBuffer object = CALL(thinlto_module_get_object)(cg, 0);
    REFUSED(thinlto_module_get_object, !object.Buffer && !object.Size);
    EXPECT(thinlto_module_get_num_object_files, 0, cg);
    EXPECT(thinlto_module_get_object_file, NULL, cg, 0);
    EXPECT(thinlto_codegen_set_pic_model, true, cg, LTO_CODEGEN_PIC_MODEL_STATIC);
    EXPECT_VOID(thinlto_codegen_set_savetemps_dir, cg, "d/");
    EXPECT_VOID(thinlto_set_generated_objects_dir, cg, "d");
    EXPECT_VOID(thinlto_codegen_set_cpu, cg, "generic");
    EXPECT_VOID(thinlto_codegen_disable_codegen, cg, true);
    EXPECT_VOID(thinlto_codegen_set_codegen_only, cg, true);
    EXPECT_VOID(thinlto_codegen_add_must_preserve_symbol, cg, "f", 1);
    EXPECT_VOID(thinlto_codegen_add_cross_referenced_symbol, cg, "f", 1);
    EXPECT_VOID(thinlto_codegen_set_cache_dir, cg, "d");
    EXPECT_VOID(thinlto_codegen_set_cache_pruning_interval, cg, 1);
    EXPECT_VOID(thinlto_codegen_set_final_cache_size_relative_to_available_space, cg, 1);
    EXPECT_VOID(thinlto_codegen_set_cache_entry_expiration, cg, 1);
    EXPECT_VOID(thinlto_codegen_set_cache_size_bytes, cg, 1);
    EXPECT_VOID(thinlto_codegen_set_cache_size_megabytes, cg, 1);
    EXPECT_VOID(thinlto_codegen_set_cache_size_files, cg, 1);
  }
}

static void bad_inputs(void) {
  for (int i = 0; i < number_of_bad; i++) {
    lto_input_t input = (lto_input_t)bad[i];
    size_t size = 7;
    EXPECT_VOID(lto_input_dispose, input);
    EXPECT(lto_input_get_num_dependent_libraries, 0, input);
    EXPECT(lto_input_get_dependent_library, NULL, input, 0, &size);
    CHECK(size == 7);
  }
}

static size_t (*disassemble)(void *, uint8_t *, uint64_t, uint64_t, char *, size_t);

static void bad_disassemblers(void) {
  int (*set_options)(void *, uint64_t) =
      (int (*)(void *, uint64_t))find("LLVMSetDisasmOptions");
  void (*dispose)(void *) = (void (*)(void *))find("LLVMDisasmDispose");
  disassemble = (size_t (*)(void *, uint8_t *, uint64_t, uint64_t, char *, size_t))find(
      "LLVMDisasmInstruction");
  uint8_t code[] = {0x90};
  char text[64] = "untouched";
  for (int i = 0; i < number_of_bad; i++) {
    forget();
    REFUSED(LLVMSetDisasmOptions, !set_options(bad[i], 1));
    forget();
    dispose(bad[i]);
    REFUSED(LLVMDisasmDispose, 1);
    forget();
    REFUSED(LLVMDisasmInstruction, !disassemble(bad[i], code, 1, 0, text, sizeof text));
    CHECK(!strcmp(text, "untouched"));
  }
}

/* Good handles and wrong other arguments. */
static void bad_others(const char *path, const void *bytes, size_t size) {
  EXPECT(lto_module_is_object_file, false, NULL);
  EXPECT(lto_module_is_object_file_for_target, false, NULL, "x86_64");
  EXPECT(lto_module_is_object_file_for_target, false, path, NULL);
  EXPECT(lto_module_has_objc_category, false, NULL, 4);
  EXPECT(lto_module_is_object_file_in_memory, false, NULL, 4);
  EXPECT(lto_module_is_object_file_in_memory, false, bytes, SIZE_MAX);
  EXPECT(lto_module_is_object_file_in_memory_for_target, false, NULL, 4, "x");
  EXPECT(lto_module_is_object_file_in_memory_for_target, false, bytes, size, NULL);
  EXPECT(lto_module_create, NULL, NULL);
  EXPECT(lto_module_create_from_memory, NULL, NULL, 4);
  EXPECT(lto_module_create_from_memory, NULL, bytes, SIZE_MAX);
  EXPECT(lto_module_create_from_memory_with_path, NULL, NULL, 4, path);
  EXPECT(lto_module_create_in_local_context, NULL, NULL, 4, path);
  EXPECT(lto_input_create, NULL, NULL, 4, path);
  CHECK(!CALL(lto_module_create_from_fd)(-1, path, 4));
  CHECK_MESSAGE(path);
  CHECK(!CALL(lto_module_create_from_fd)(987654, path, 4));
  int fd = open(path, O_RDONLY);
  EXPECT(lto_module_create_from_fd_at_offset, NULL, fd, path, size, size, -1);
  CHECK(!CALL(lto_module_create_from_fd_at_offset)(fd, path, size, 16, (off_t)size));
  CHECK_MESSAGE(path);
  CHECK(!CALL(lto_module_create_from_fd)(fd, path, SIZE_MAX));
  CHECK_MESSAGE(path);
  /* The descriptor stays the caller's, and a null path is only a missing name. */
  lto_module_t mod = CALL(lto_module_create_from_fd)(fd, NULL, size);
  CHECK(mod != NULL);
  CHECK(close(fd) == 0);
  unsigned n = CALL(lto_module_get_num_symbols)(mod);
  CHECK(n > 0);
  EXPECT(lto_module_get_symbol_name, NULL, mod, n);
  EXPECT(lto_module_get_symbol_name, NULL, mod, UINT32_MAX);
  EXPECT(lto_module_get_symbol_attribute, 0, mod, n);
  EXPECT(lto_module_get_asm_undef_symbol_name, NULL, mod, 1000);
  EXPECT_VOID(lto_module_set_target_triple, mod, NULL);
  unsigned cpu = 7;
  CALL(lto_module_set_target_triple)(mod, "x86_64-apple-macosx10.15.0");
  EXPECT(lto_module_get_macho_cputype, true, mod, NULL, &cpu);
  EXPECT(lto_module_get_macho_cputype, true, mod, &cpu, NULL);

  lto_code_gen_t cg = CALL(lto_codegen_create_in_local_context)();
  CHECK(cg != NULL);
  EXPECT(lto_codegen_set_debug_model, true, cg, (lto_debug_model)17);
  EXPECT(lto_codegen_set_pic_model, true, cg, (lto_codegen_model)17);
  EXPECT_VOID(lto_codegen_set_cpu, cg, NULL);
  EXPECT_VOID(lto_codegen_add_must_preserve_symbol, cg, NULL);
  EXPECT_VOID(lto_codegen_debug_options, cg, NULL);
  EXPECT_VOID(lto_codegen_debug_options_array, cg, NULL, 1);
  const char *options[] = {"-x", NULL};
  EXPECT_VOID(lto_codegen_debug_options_array, cg, options, 2);
  EXPECT_VOID(lto_codegen_debug_options_array, cg, options, -1);
  EXPECT(lto_codegen_write_merged_modules, true, cg, NULL);
  EXPECT(lto_codegen_compile_to_file, true, cg, NULL);
  CALL(lto_codegen_set_assembler_path)(cg, NULL);
  CALL(lto_codegen_set_assembler_args)(cg, NULL, 0);
  EXPECT(lto_module_create_in_codegen_context, NULL, NULL, 4, path, cg);
  CHECK(!CALL(lto_codegen_add_module)(cg, mod));
  EXPECT(lto_codegen_add_module, true, cg, mod);
  lto_module_t local = CALL(lto_module_create_in_local_context)(bytes, size, path);
  EXPECT(lto_codegen_add_module, true, cg, local);
  CALL(lto_module_dispose)(local);
  CALL(lto_module_dispose)(mod);
  /* A module that was set belongs to the code generator. */
  mod = CALL(lto_module_create)(path);
  CALL(lto_codegen_set_module)(cg, mod);
  EXPECT_VOID(lto_module_dispose, mod);
  CALL(lto_codegen_dispose)(cg);

  EXPECT_VOID(lto_set_debug_options, NULL, 1);
  EXPECT_VOID(lto_set_debug_options, options, -1);
  EXPECT_VOID(thinlto_debug_options, options, -1);
  CALL(thinlto_debug_options)(NULL, 3);
  EXPECT(lto_runtime_lib_symbols_list, NULL, NULL);

  thinlto_code_gen_t thin = CALL(thinlto_create_codegen)();
  CHECK(thin != NULL);
  EXPECT_VOID(thinlto_codegen_add_module, thin, NULL, bytes, 4);
  EXPECT_VOID(thinlto_codegen_add_module, thin, "a", NULL, 4);
  EXPECT_VOID(thinlto_codegen_add_module, thin, "a", bytes, -1);
  CALL(thinlto_codegen_add_module)(thin, "a", bytes, (int)size);
  EXPECT_VOID(thinlto_codegen_add_module, thin, "a", bytes, (int)size);
  EXPECT(thinlto_codegen_set_pic_model, true, thin, (lto_codegen_model)17);
  EXPECT_VOID(thinlto_codegen_set_cpu, thin, NULL);
  EXPECT_VOID(thinlto_codegen_set_savetemps_dir, thin, NULL);
  EXPECT_VOID(thinlto_set_generated_objects_dir, thin, NULL);
  EXPECT_VOID(thinlto_codegen_set_cache_dir, thin, NULL);
  EXPECT_VOID(thinlto_codegen_add_must_preserve_symbol, thin, NULL, 1);
  EXPECT_VOID(thinlto_codegen_add_must_preserve_symbol, thin, "f", -1);
  EXPECT_VOID(thinlto_codegen_add_cross_referenced_symbol, thin, NULL, 1);
  EXPECT_VOID(thinlto_codegen_add_cross_referenced_symbol, thin, "f", -1);
  EXPECT(thinlto_module_get_object_file, NULL, thin, 1000);
  CALL(thinlto_codegen_dispose)(thin);

  lto_input_t input = CALL(lto_input_create)(bytes, size, NULL);
  CHECK(input != NULL);
  size_t length = 7;
  EXPECT(lto_input_get_dependent_library, NULL, input, 1000, &length);
  CHECK(length == 7);
  CALL(lto_input_dispose)(input);

  void *(*create)(const char *, const char *, void *, int, void *, void *) =
      (void *(*)(const char *, const char *, void *, int, void *, void *))find(
          "LLVMCreateDisasmCPU");
  forget();
  REFUSED(LLVMCreateDisasmCPU, !create(NULL, "", NULL, 0, NULL, NULL));
  forget();
  REFUSED(LLVMCreateDisasmCPU, !create("x86_64-linux", NULL, NULL, 0, NULL, NULL));
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  load_library(argv[1]);
  size_t size;
  void *bytes = read_file(argv[2], &size);
  CHECK(CALL(lto_get_version)()[0] != 0);
  CHECK(CALL(lto_api_version)() == LTO_API_VERSION);
  CHECK(message()[0] == 0);

  lto_module_t module = CALL(lto_module_create_from_memory)(bytes, size);
  lto_code_gen_t cg = CALL(lto_codegen_create)();
  thinlto_code_gen_t thin = CALL(thinlto_create_codegen)();
  lto_input_t input = CALL(lto_input_create)(bytes, size, argv[2]);
  CHECK(module && cg && thin && input);
  int on_the_stack = 0;
  void *garbage[] = {NULL,
                     (void *)1,
                     (void *)(uintptr_t)0xdeadbeef,
                     (void *)UINTPTR_MAX,
                     &on_the_stack,
                     bytes,
                     (void *)((uintptr_t)module + 1),
                     (void *)((uintptr_t)module ^ 0x100000000)};
  memcpy(bad, garbage, sizeof garbage);
  int n = sizeof garbage / sizeof *garbage;

#define WITH(a, b, c, stale)                                                                      \
  (bad[n] = (a), bad[n + 1] = (b), bad[n + 2] = (c), bad[n + 3] = (stale), number_of_bad = n + 4)

  lto_module_t old_module = CALL(lto_module_create_from_memory)(bytes, size);
  CALL(lto_module_dispose)(old_module);
  WITH(cg, thin, input, old_module);
  bad_modules();

  lto_code_gen_t old_cg = CALL(lto_codegen_create_in_local_context)();
  CALL(lto_codegen_dispose)(old_cg);
  WITH(module, thin, input, old_cg);
  bad_code_generators(argv[2], bytes, size);

  thinlto_code_gen_t old_thin = CALL(thinlto_create_codegen)();
  CALL(thinlto_codegen_dispose)(old_thin);
  WITH(module, cg, input, old_thin);
  bad_thin_code_generators(bytes, (int)size);

  lto_input_t old_input = CALL(lto_input_create)(bytes, size, argv[2]);
  CALL(lto_input_dispose)(old_input);
  WITH(module, cg, thin, old_input);
  bad_inputs();

  WITH(module, cg, thin, input);
  bad_disassemblers();
  bad_others(argv[2], bytes, size);

  /* The good ones were not touched by any of that. */
  CHECK(CALL(lto_module_get_num_symbols)(module) > 0);
  CHECK(CALL(lto_input_get_num_dependent_libraries)(input) == 0);
  CALL(thinlto_codegen_process)(thin);
  CHECK(CALL(thinlto_module_get_num_objects)(thin) == 0);
  CHECK(CALL(thinlto_module_get_num_object_files)(thin) == 0);
  CALL(lto_module_dispose)(module);
  CALL(lto_codegen_dispose)(cg);
  CALL(thinlto_codegen_dispose)(thin);
  CALL(lto_input_dispose)(input);
  free(bytes);
  return finish();
}
