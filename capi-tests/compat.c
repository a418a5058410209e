/* A program of the interface that runs with LLVM's libLTO and with ours, compiled against LLVM's
 * header or ours: what it prints must be the same in all four cases.
 *
 *   compat LIBRARY BITCODE OBJECT */

#include "check.h"

static void on_diagnostic(lto_codegen_diagnostic_severity_t severity, const char *text,
                          void *context) {
  printf("%d %s %s\n", (int)severity, text, (const char *)context);
}

#define SHOW(constant) printf(#constant " %#x\n", (unsigned)(constant))

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  load_library(argv[1]);
  SHOW(LTO_SYMBOL_ALIGNMENT_MASK);
  SHOW(LTO_SYMBOL_PERMISSIONS_MASK);
  SHOW(LTO_SYMBOL_PERMISSIONS_CODE);
  SHOW(LTO_SYMBOL_PERMISSIONS_DATA);
  SHOW(LTO_SYMBOL_PERMISSIONS_RODATA);
  SHOW(LTO_SYMBOL_DEFINITION_MASK);
  SHOW(LTO_SYMBOL_DEFINITION_REGULAR);
  SHOW(LTO_SYMBOL_DEFINITION_TENTATIVE);
  SHOW(LTO_SYMBOL_DEFINITION_WEAK);
  SHOW(LTO_SYMBOL_DEFINITION_UNDEFINED);
  SHOW(LTO_SYMBOL_DEFINITION_WEAKUNDEF);
  SHOW(LTO_SYMBOL_SCOPE_MASK);
  SHOW(LTO_SYMBOL_SCOPE_INTERNAL);
  SHOW(LTO_SYMBOL_SCOPE_HIDDEN);
  SHOW(LTO_SYMBOL_SCOPE_PROTECTED);
  SHOW(LTO_SYMBOL_SCOPE_DEFAULT);
  SHOW(LTO_SYMBOL_SCOPE_DEFAULT_CAN_BE_HIDDEN);
  SHOW(LTO_SYMBOL_COMDAT);
  SHOW(LTO_SYMBOL_ALIAS);
  SHOW(LTO_DEBUG_MODEL_NONE);
  SHOW(LTO_DEBUG_MODEL_DWARF);
  SHOW(LTO_CODEGEN_PIC_MODEL_STATIC);
  SHOW(LTO_CODEGEN_PIC_MODEL_DYNAMIC);
  SHOW(LTO_CODEGEN_PIC_MODEL_DYNAMIC_NO_PIC);
  SHOW(LTO_CODEGEN_PIC_MODEL_DEFAULT);
  SHOW(LTO_DS_ERROR);
  SHOW(LTO_DS_WARNING);
  SHOW(LTO_DS_REMARK);
  SHOW(LTO_DS_NOTE);
  printf("%zu %zu %zu %zu\n", sizeof(lto_bool_t), sizeof(lto_symbol_attributes),
         sizeof(lto_codegen_model), sizeof(LTOObjectBuffer));
  printf("%zu %zu\n", offsetof(LTOObjectBuffer, Buffer), offsetof(LTOObjectBuffer, Size));

  size_t size;
  void *bytes = read_file(argv[2], &size);
  printf("%d %d\n", CALL(lto_module_is_object_file)(argv[2]),
         CALL(lto_module_is_object_file_in_memory)(bytes, size));
  printf("%d %d\n", CALL(lto_module_is_object_file_for_target)(argv[2], "x86_64"),
         CALL(lto_module_is_object_file_in_memory_for_target)(bytes, size, "arm"));
  lto_module_t module = CALL(lto_module_create_from_memory_with_path)(bytes, size, "module");
  for (unsigned i = 0; i < CALL(lto_module_get_num_symbols)(module); i++) {
    lto_symbol_attributes attributes = CALL(lto_module_get_symbol_attribute)(module, i);
    printf("%#x %s\n", (unsigned)attributes, CALL(lto_module_get_symbol_name)(module, i));
  }
  printf("%s %s\n", CALL(lto_module_get_target_triple)(module),
         CALL(lto_module_get_linkeropts)(module));
  printf("%d %d %d\n", CALL(lto_module_is_thinlto)(module),
         CALL(lto_module_has_ctor_dtor)(module), CALL(lto_module_has_objc_category)(bytes, size));
  lto_input_t input = CALL(lto_input_create)(bytes, size, "module");
  unsigned libraries = CALL(lto_input_get_num_dependent_libraries)(input);
  for (unsigned i = 0; i < libraries; i++) {
    size_t length = 0;
    const char *name = CALL(lto_input_get_dependent_library)(input, i, &length);
    printf("library %.*s\n", (int)length, name);
  }
  CALL(lto_input_dispose)(input);

  lto_code_gen_t cg = CALL(lto_codegen_create)();
  static char context[] = "context";
  lto_diagnostic_handler_t handler = on_diagnostic;
  CALL(lto_codegen_set_diagnostic_handler)(cg, handler, context);
  CHECK(!CALL(lto_codegen_add_module)(cg, module));
  CALL(lto_module_dispose)(module);
  CHECK(!CALL(lto_codegen_set_debug_model)(cg, LTO_DEBUG_MODEL_DWARF));
  CHECK(!CALL(lto_codegen_set_pic_model)(cg, LTO_CODEGEN_PIC_MODEL_DYNAMIC));
  CALL(lto_codegen_add_must_preserve_symbol)(cg, "main");
  CALL(lto_codegen_debug_options)(cg, "-inline-threshold=100  -O3");
  size_t length = 0;
  const void *object = CALL(lto_codegen_compile)(cg, &length);
  CHECK(object && length);
  FILE *file = fopen(argv[3], "wb");
  CHECK(file && object && fwrite(object, 1, length, file) == length && !fclose(file));
  CALL(lto_codegen_dispose)(cg);
  return finish();
}
