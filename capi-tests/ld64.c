/* The calls that ld64 makes, in its order, on modules for macOS.
 *
 *   ld64 LIBRARY x86_64-|arm64-|aarch64- TRIPLE CPUTYPE MAIN OTHER DAMAGED OUTPUT
 *
 * MAIN defines main and refers to what OTHER defines: `helper`, and `unused`, which nobody calls.
 * DAMAGED is a truncated module. The object is written to OUTPUT. */

#include "check.h"

#include <sys/stat.h>
#include <unistd.h>

static int errors;
static char last_error[4096];

static void on_diagnostic(lto_codegen_diagnostic_severity_t severity, const char *text,
                          void *context) {
  CHECK(context == NULL);
  if (severity == LTO_DS_ERROR) {
    errors++;
    snprintf(last_error, sizeof last_error, "%s", text);
  }
}

static unsigned attributes_of(lto_module_t module, const char *name) {
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  for (unsigned i = 0; i < n; i++)
    if (!strcmp(CALL(lto_module_get_symbol_name)(module, i), name))
      return (unsigned)CALL(lto_module_get_symbol_attribute)(module, i);
  return ~0u;
}

/* What ld64 does with every file before it knows what it is. */
static void parse(const char *prefix, const char *triple, unsigned cpu, void *mem, size_t size,
                  const char *path) {
  /* The wrapper, and the CPU type in it, which LLVM does not know for arm64. */
  uint32_t header[5];
  memcpy(header, mem, sizeof header);
  CHECK(header[0] == 0x0B17C0DE && (header[4] == cpu || header[4] == ~0u));
  CHECK(CALL(lto_module_is_object_file_in_memory_for_target)(mem, size, prefix));
  CHECK(!CALL(lto_module_is_object_file_in_memory_for_target)(mem, size, "armv7-"));
  CHECK(!CALL(lto_module_has_objc_category)(mem, size));
  char member[256];
  snprintf(member, sizeof member, "lib.a(%s)", path);
  lto_module_t module = CALL(lto_module_create_in_local_context)(mem, size, member);
  CHECK(module != NULL);
  CHECK(!CALL(lto_module_is_thinlto)(module));
  CHECK(!strncmp(CALL(lto_module_get_target_triple)(module), triple, strlen(triple)));
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  CHECK(n > 0);
  for (unsigned i = 0; i < n; i++) {
    char *name = strdup(CALL(lto_module_get_symbol_name)(module, i));
    CHECK(name && name[0]);
    free(name);
  }
  CALL(lto_module_dispose)(module);
}

int main(int argc, char **argv) {
  if (argc < 9)
    return 2;
  load_library(argv[1]);
  const char *prefix = argv[2], *triple = argv[3];
  unsigned cpu = (unsigned)strtoul(argv[4], NULL, 0);
  size_t size[3];
  void *mem[3];
  for (int i = 0; i < 3; i++)
    mem[i] = read_file(argv[5 + i], &size[i]);
  const char *output = argv[8];

  parse(prefix, triple, cpu, mem[0], size[0], argv[5]);
  parse(prefix, triple, cpu, mem[1], size[1], argv[6]);
  /* A damaged file is no file of this target, and no reason to end the linker. */
  CHECK(!CALL(lto_module_is_object_file_in_memory_for_target)(mem[2], 64, prefix));
  CHECK(!CALL(lto_module_create_in_local_context)(mem[2], size[2], argv[7]));
  CHECK_MESSAGE(argv[7]);

  lto_module_t module = CALL(lto_module_create_in_local_context)(mem[1], size[1], argv[6]);
  CHECK((attributes_of(module, "_helper") & ~0x1fu) == 0x19a0);
  CHECK((attributes_of(module, "_weak_one") & ~0x1fu) == 0x1ba0);
  CHECK((attributes_of(module, "_hidden_one") & ~0x1fu) == 0x11a0);
  CHECK((attributes_of(module, "_data_one") & ~0x1fu) == 0x19c0);
  CHECK((attributes_of(module, "_data_one") & 0x1f) == 2);
  CHECK((attributes_of(module, "_constant_one") & ~0x1fu) == 0x1980);
  CHECK(attributes_of(module, "_puts") == 0x400);
  CALL(lto_module_dispose)(module);

  /* Regular LTO. */
  lto_code_gen_t cg = CALL(lto_codegen_create_in_local_context)();
  CALL(lto_codegen_set_diagnostic_handler)(cg, on_diagnostic, NULL);
  for (int i = 0; i < 2; i++) {
    module = CALL(lto_module_create_in_codegen_context)(mem[i], size[i], argv[5 + i], cg);
    CHECK(module != NULL);
    CHECK(!CALL(lto_codegen_add_module)(cg, module));
    CALL(lto_module_dispose)(module);
  }
  CHECK(CALL(lto_api_version)() >= 18);
  CALL(lto_codegen_debug_options_array)(cg, NULL, 0);
  CALL(lto_codegen_add_must_preserve_symbol)(cg, "_main");
  CALL(lto_codegen_add_must_preserve_symbol)(cg, "_main");
  CHECK(!CALL(lto_codegen_set_pic_model)(cg, LTO_CODEGEN_PIC_MODEL_DYNAMIC));
  char saved[4096];
  struct stat info;
  snprintf(saved, sizeof saved, "%s.lto.bc", output);
  CHECK(!CALL(lto_codegen_write_merged_modules)(cg, saved));
  CHECK(!stat(saved, &info) && info.st_size > 64);
  CALL(lto_codegen_set_assembler_path)(cg, "/usr/bin/as");
  CHECK(!CALL(lto_codegen_optimize)(cg));
  snprintf(saved, sizeof saved, "%s.lto.opt.bc", output);
  CHECK(!CALL(lto_codegen_write_merged_modules)(cg, saved));
  size_t length = 0;
  const char *object = CALL(lto_codegen_compile_optimized)(cg, &length);
  uint32_t magic = 0;
  CHECK(object && length > 32);
  if (object)
    memcpy(&magic, object, 4);
  CHECK(magic == 0xFEEDFACF);
  CHECK(errors == 0);
  if (object) {
    FILE *file = fopen(output, "wb");
    CHECK(file && fwrite(object, 1, length, file) == length && !fclose(file));
  }

  /* The damaged module in the code generator's context: the handler hears of it. */
  CHECK(!CALL(lto_module_create_in_codegen_context)(mem[2], size[2], argv[7], cg));
  CHECK(errors == 1 && strstr(last_error, argv[7]));

  /* `-r` of bitcode alone. */
  lto_code_gen_t merge = CALL(lto_codegen_create_in_local_context)();
  CALL(lto_codegen_set_diagnostic_handler)(merge, on_diagnostic, NULL);
  module = CALL(lto_module_create_in_codegen_context)(mem[1], size[1], argv[6], merge);
  CHECK(!CALL(lto_codegen_add_module)(merge, module));
  CALL(lto_module_dispose)(module);
  CALL(lto_codegen_debug_options_array)(merge, NULL, 0);
  const char *keep[] = {"_helper",     "_weak_one",     "_unused", "_hidden_one",
                        "_data_one",   "_constant_one", NULL};
  for (int i = 0; keep[i]; i++)
    CALL(lto_codegen_add_must_preserve_symbol)(merge, keep[i]);
  CALL(lto_codegen_set_should_embed_uselists)(merge, false);
  snprintf(saved, sizeof saved, "%s.r.bc", output);
  CHECK(!CALL(lto_codegen_write_merged_modules)(merge, saved));
  lto_module_t merged = CALL(lto_module_create)(saved);
  CHECK(merged && (attributes_of(merged, "_helper") & ~0x1fu) == 0x19a0);
  CHECK((attributes_of(merged, "_weak_one") & ~0x1fu) == 0x1ba0);

  /* ThinLTO where nothing can be written: LLVM ends the process, here there is a message, and ld
   * goes on to say so. */
  CALL(thinlto_debug_options)(NULL, 0);
  thinlto_code_gen_t thin = CALL(thinlto_create_codegen)();
  CALL(thinlto_codegen_set_savetemps_dir)(thin, "/nonexistent/out.thinlto.bcs/");
  CHECK(!CALL(thinlto_codegen_set_pic_model)(thin, LTO_CODEGEN_PIC_MODEL_DYNAMIC));
  CALL(thinlto_codegen_add_must_preserve_symbol)(thin, "_main", 5);
  CALL(thinlto_codegen_add_cross_referenced_symbol)(thin, "_helper", 7);
  CALL(thinlto_codegen_add_module)(thin, "a.o0", mem[0], (int)size[0]);
  CALL(thinlto_codegen_add_module)(thin, "b.o1", mem[1], (int)size[1]);
  CALL(thinlto_codegen_process)(thin);
  CHECK_MESSAGE("/nonexistent/out.thinlto.bcs/");
  CHECK(CALL(thinlto_module_get_num_objects)(thin) == 0);
  CHECK(CALL(thinlto_module_get_num_object_files)(thin) == 0);

  /* ld disposes of no code generator. */
  return finish();
}
