/* The thin link of a distributed build by the ThinLTO file API.
 *
 *   thinlto_link LIBRARY OUT FILE... [ARCHIVE@OFFSET...]
 *
 * Links the files as a program whose main is used from outside, in which the first definition of
 * a name prevails, writes the indexes below OUT, and prints the resolutions as llvm-lto2's
 * arguments. */

#include "check.h"

#include <thinlto_file.h>

#define MAX_NAMES 4096

static char *names[MAX_NAMES];
static size_t num_names;

static int first_definition(const char *name) {
  for (size_t i = 0; i < num_names; i++)
    if (!strcmp(names[i], name))
      return 0;
  CHECK(num_names < MAX_NAMES);
  names[num_names++] = strdup(name);
  return 1;
}

static void misuse(thin_link_t link) {
  thin_lto_t index = CALL(lto_thinlto_create_empty)();
  lto_thinlto_symbol_t symbol = {.struct_size = sizeof symbol};
  size_t n;
  CHECK(CALL(lto_thinlto_link_add_file)(link, "no-such-file", &n));
  CHECK(strstr(message(), "no-such-file"));
  CHECK(CALL(lto_thinlto_link_add_file)(link, NULL, &n));
  CHECK(CALL(lto_thinlto_link_add_file)(NULL, "no-such-file", &n));
  CHECK(CALL(lto_thinlto_link_add_member)(link, "no-such-file", 68, &n));
  CHECK(CALL(lto_thinlto_link_get_symbol)(link, 1000, 0, &symbol));
  CHECK(strstr(message(), "input"));
  CHECK(CALL(lto_thinlto_link_get_symbol)(link, 0, 100000, &symbol));
  symbol.struct_size = 4;
  CHECK(CALL(lto_thinlto_link_get_symbol)(link, 0, 0, &symbol));
  CHECK(CALL(lto_thinlto_link_get_symbol)(link, 0, 0, NULL));
  CHECK(CALL(lto_thinlto_link_set_resolution)(link, 0, 0, 1u << 30));
  /* A handle of another kind. */
  CHECK(CALL(lto_thinlto_link_write)((thin_link_t)index, NULL));
  CHECK(strstr(message(), "thin link"));
  CHECK(CALL(lto_thinlto_is_combined)((thin_lto_t)link) == 0 && *message());
  lto_thinlto_link_options_t options = {.struct_size = 8};
  CHECK(CALL(lto_thinlto_link_write)(link, &options));
  options.struct_size = sizeof options;
  options.llvm_version = 17;
  CHECK(CALL(lto_thinlto_link_write)(link, &options));
  options.llvm_version = 22;
  const char *bad[] = {"-import-instr-limit=x"};
  options.llvm_options = bad;
  options.num_llvm_options = 1;
  CHECK(CALL(lto_thinlto_link_write)(link, &options));
  CHECK(strstr(message(), "invalid for uint argument"));
  CALL(lto_thinlto_dispose)(index);
}

int main(int argc, char **argv) {
  CHECK(argc > 3);
  load_library(argv[1]);
  thin_link_t link = CALL(lto_thinlto_link_create)();
  CHECK(link);
  for (int i = 3; i < argc; i++) {
    char *at = strchr(argv[i], '@');
    size_t count = 0, input = (size_t)i - 3;
    if (at) {
      *at = 0;
      CHECK(CALL(lto_thinlto_link_add_member)(link, argv[i], 3, &count));
      CHECK(strstr(message(), "no member at 3"));
      CHECK(!CALL(lto_thinlto_link_add_member)(link, argv[i], strtoull(at + 1, NULL, 10), &count));
    } else {
      CHECK(!CALL(lto_thinlto_link_add_file)(link, argv[i], &count));
    }
    for (size_t n = 0; n < count; n++) {
      lto_thinlto_symbol_t symbol = {.struct_size = sizeof symbol};
      CHECK(!CALL(lto_thinlto_link_get_symbol)(link, input, n, &symbol));
      CHECK(symbol.struct_size == sizeof symbol && symbol.name);
      char letters[5] = "";
      unsigned bits = 0;
      if (!(symbol.flags & LTO_THINLTO_SYMBOL_UNDEFINED) && first_definition(symbol.name)) {
        bits |= LTO_THINLTO_PREVAILING | LTO_THINLTO_FINAL_DEFINITION;
        strcat(letters, "pl");
      }
      if (!strcmp(symbol.name, "main")) {
        CHECK(symbol.flags & LTO_THINLTO_SYMBOL_EXECUTABLE);
        bits |= LTO_THINLTO_VISIBLE_TO_REGULAR_OBJ;
        strcat(letters, "x");
      }
      CHECK(!CALL(lto_thinlto_link_set_resolution)(link, input, n, bits));
      if (!at)
        printf("-r=%s,%s,%s\n", argv[i], symbol.name, letters);
    }
  }
  misuse(link);
  CHECK(!CALL(lto_thinlto_link_add_unused)(link, "unused.o"));
  char prefix[4096], list[4096], regular[4096];
  snprintf(prefix, sizeof prefix, "%s/", argv[2]);
  snprintf(list, sizeof list, "%s/list", argv[2]);
  snprintf(regular, sizeof regular, "%s/regular.o", argv[2]);
  const char *limit[] = {"-import-instr-limit=50"};
  lto_thinlto_link_options_t options = {
      .struct_size = sizeof options,
      .new_prefix = prefix,
      .object_prefix = "native/",
      .linked_objects = list,
      .regular_object = regular,
      .emit_imports = 1,
      .llvm_options = limit,
      .num_llvm_options = 1,
  };
  CHECK(!CALL(lto_thinlto_link_write)(link, &options));
  CALL(lto_thinlto_link_dispose)(link);
  CHECK(CALL(lto_thinlto_link_write)(link, NULL));
  for (size_t i = 0; i < num_names; i++)
    free(names[i]);
  return 0;
}
