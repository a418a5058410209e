/* Strings and buffers live as long as their object, and what the caller gave may go at once.
 *
 *   lifetimes LIBRARY BITCODE */

#include "check.h"

static int is_text(const char *text) { return text && strlen(text) < 4096; }

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  load_library(argv[1]);
  size_t size;
  char *bytes = read_file(argv[2], &size);
  char *path = strdup(argv[2]);

  /* The caller's memory goes before anything is asked. */
  lto_module_t module = CALL(lto_module_create_in_local_context)(bytes, size, path);
  CHECK(module != NULL);
  memset(bytes, 0xa5, size);
  free(bytes);
  memset(path, 'x', strlen(path));
  free(path);
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  CHECK(n > 0);
  const char **names = malloc(n * sizeof *names);
  char **copies = malloc(n * sizeof *copies);
  for (unsigned i = 0; i < n; i++) {
    names[i] = CALL(lto_module_get_symbol_name)(module, i);
    CHECK(is_text(names[i]));
    copies[i] = strdup(names[i]);
  }
  const char *triple = CALL(lto_module_get_target_triple)(module);
  const char *options = CALL(lto_module_get_linkeropts)(module);
  CHECK(is_text(triple) && triple[0] && is_text(options));
  char *triple_copy = strdup(triple);
  CALL(lto_module_is_thinlto)(module);

  /* Much else happens. */
  for (int round = 0; round < 200; round++) {
    char *again = read_file(argv[2], &size);
    lto_module_t other = CALL(lto_module_create_from_memory_with_path)(again, size, "other");
    free(again);
    CHECK(other != NULL);
    char text[32];
    snprintf(text, sizeof text, "x86_64-round-%d", round);
    CALL(lto_module_set_target_triple)(module, text);
    CHECK(!strcmp(CALL(lto_module_get_target_triple)(module), text));
    if (round % 2)
      CALL(lto_module_dispose)(other);
  }
  for (unsigned i = 0; i < n; i++) {
    CHECK(!strcmp(names[i], copies[i]));
    CHECK(CALL(lto_module_get_symbol_name)(module, i) == names[i]);
  }
  CHECK(!strcmp(triple, triple_copy));

  /* Objects of earlier compiles live until the code generator goes. */
  lto_code_gen_t cg = CALL(lto_codegen_create)();
  lto_module_t linked = CALL(lto_module_create)(argv[2]);
  CHECK(!CALL(lto_codegen_add_module)(cg, linked));
  CALL(lto_module_dispose)(linked);
  CALL(lto_codegen_add_must_preserve_symbol)(cg, "main");
  size_t first_size = 0, second_size = 0;
  const char *first = CALL(lto_codegen_compile)(cg, &first_size);
  CHECK(first && first_size > 4);
  if (first) {
    char *first_copy = malloc(first_size);
    memcpy(first_copy, first, first_size);
    const char *second = CALL(lto_codegen_compile)(cg, &second_size);
    CHECK(second && second_size == first_size);
    CHECK(!memcmp(first, first_copy, first_size));
    CHECK(second && !memcmp(second, first_copy, first_size));
    free(first_copy);
  }

  /* The message lives until the next failure of this thread. */
  CALL(lto_module_create)("/nonexistent/first");
  const char *text = message();
  CHECK(strstr(text, "/nonexistent/first") != NULL);
  lto_module_t fine = CALL(lto_module_create)(argv[2]);
  CHECK(fine && message() == text && strstr(text, "/nonexistent/first"));

  /* Nothing is disposed of: the process must end all the same. */
  return finish();
}
