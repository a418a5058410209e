/* The calls that nm, strip and otool of cctools make.
 *
 *   cctools LIBRARY CPUTYPE CPUSUBTYPE BITCODE NAME...
 *
 * NAMEs are symbols that the module must define. */

#include "check.h"

int main(int argc, char **argv) {
  if (argc < 5)
    return 2;
  load_library(argv[1]);
  unsigned want_cpu = (unsigned)strtoul(argv[2], NULL, 0);
  unsigned want_subtype = (unsigned)strtoul(argv[3], NULL, 0);
  size_t size;
  void *mem = read_file(argv[4], &size);

  /* nm: any file is asked about. */
  char text[] = "INPUT ( crt1.o )";
  CHECK(!CALL(lto_module_is_object_file_in_memory)(text, sizeof text));
  CHECK(!CALL(lto_module_is_object_file_in_memory)(text, 0));
  CHECK(CALL(lto_module_is_object_file_in_memory)(mem, size));
  lto_module_t module = CALL(lto_module_create_from_memory)(mem, size);
  CHECK(module != NULL);
  unsigned cpu = 0, subtype = 0;
  CHECK(!CALL(lto_module_get_macho_cputype)(module, &cpu, &subtype));
  CHECK(cpu == want_cpu && subtype == want_subtype);
  CHECK(strstr(CALL(lto_module_get_target_triple)(module), "-apple-macosx") != NULL);

  /* strip: several modules at once, in the same process. */
  lto_module_t again = CALL(lto_module_create_in_local_context)(mem, size, argv[4]);
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  CHECK(n && n == CALL(lto_module_get_num_symbols)(again));
  const char **names = calloc(n, sizeof *names);
  for (unsigned i = 0; i < n; i++) {
    names[i] = CALL(lto_module_get_symbol_name)(module, i);
    CHECK(!strcmp(names[i], CALL(lto_module_get_symbol_name)(again, i)));
    CHECK(CALL(lto_module_get_symbol_attribute)(module, i) ==
          CALL(lto_module_get_symbol_attribute)(again, i));
  }
  CALL(lto_module_dispose)(again);
  free(mem);
  for (int i = 5; i < argc; i++) {
    unsigned s = 0;
    while (s < n && strcmp(names[s], argv[i]))
      s++;
    CHECK(s < n);
    unsigned definition =
        CALL(lto_module_get_symbol_attribute)(module, s) & LTO_SYMBOL_DEFINITION_MASK;
    CHECK(definition && definition != LTO_SYMBOL_DEFINITION_UNDEFINED);
  }

  /* otool -tv: the disassembler of the engine's libLLVM, looked up in this library. */
  void *(*create)(const char *, const char *, void *, int, void *, void *) =
      (void *(*)(const char *, const char *, void *, int, void *, void *))find(
          "LLVMCreateDisasmCPU");
  void *(*create_plain)(const char *, void *, int, void *, void *) =
      (void *(*)(const char *, void *, int, void *, void *))find("LLVMCreateDisasm");
  void (*dispose)(void *) = (void (*)(void *))find("LLVMDisasmDispose");
  int (*set_options)(void *, uint64_t) =
      (int (*)(void *, uint64_t))find("LLVMSetDisasmOptions");
  size_t (*instruction)(void *, uint8_t *, uint64_t, uint64_t, char *, size_t) =
      (size_t (*)(void *, uint8_t *, uint64_t, uint64_t, char *, size_t))find(
          "LLVMDisasmInstruction");
  CALL(lto_initialize_disassembler)();
  void *context = create("x86_64-apple-darwin10", "", NULL, 0, NULL, NULL);
  CHECK(context != NULL);
  uint8_t code[] = {0x48, 0x89, 0xe5, 0xc3};
  char line[128] = "";
  CHECK(instruction(context, code, sizeof code, 0x1000, line, sizeof line) == 3);
  CHECK(strstr(line, "%rsp, %rbp") != NULL);
  CHECK(set_options(context, 4) == 1); /* AsmPrinterVariant: Intel's syntax */
  CHECK(instruction(context, code, sizeof code, 0x1000, line, sizeof line) == 3);
  CHECK(strstr(line, "rbp, rsp") != NULL);
  CHECK(instruction(context, code + 3, 1, 0x1003, line, sizeof line) == 1);
  CHECK(strstr(line, "ret") != NULL);
  dispose(context);
  CHECK(!create_plain("no-such-target", NULL, 0, NULL, NULL));
  CHECK_MESSAGE("no-such-target");
  /* Nothing is disposed of. */
  return finish();
}
