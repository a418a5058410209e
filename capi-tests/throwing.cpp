/* A diagnostic handler that throws, as ld64's does: the exception passes through the library to
 * whoever called it, and the library can be used afterwards.
 *
 *   throwing LIBRARY BITCODE */

#include "check.h"

#include <string>

struct Thrown {
  std::string text;
  lto_codegen_diagnostic_severity_t severity;
};

static int destroyed;
struct Witness {
  ~Witness() { destroyed++; }
};

extern "C" void throw_it(lto_codegen_diagnostic_severity_t severity, const char *text,
                         void *context) {
  Witness witness;
  ++*static_cast<int *>(context);
  if (severity == LTO_DS_ERROR)
    throw Thrown{text, severity};
}

/* ld64 throws a C string. */
extern "C" void throw_text(lto_codegen_diagnostic_severity_t severity, const char *text, void *) {
  if (severity == LTO_DS_ERROR)
    throw static_cast<const char *>(strdup(text));
}

template <typename Body> static std::string caught(Body body) {
  try {
    body();
  } catch (const Thrown &thrown) {
    return thrown.text;
  } catch (const char *text) {
    return text;
  }
  return "";
}

static bool has(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  load_library(argv[1]);
  size_t size;
  char *bytes = static_cast<char *>(read_file(argv[2], &size));

  for (int round = 0; round < 3; round++) {
    int calls = 0;
    lto_code_gen_t cg = CALL(lto_codegen_create_in_local_context)();
    CALL(lto_codegen_set_diagnostic_handler)(cg, throw_it, &calls);

    /* A module that cannot be read. */
    std::string text = caught([&] {
      CALL(lto_module_create_in_codegen_context)(bytes, size / 2, "half.o", cg);
    });
    CHECK(has(text, "half.o"));
    CHECK(calls == 1 && destroyed == 3 * round + 1);

    /* An option that nobody knows, at the first step that needs the options. */
    lto_module_t module = CALL(lto_module_create_in_codegen_context)(bytes, size, argv[2], cg);
    CHECK(module && !CALL(lto_codegen_add_module)(cg, module));
    CALL(lto_module_dispose)(module);
    CALL(lto_codegen_add_must_preserve_symbol)(cg, "main");
    const char *option = "-no-such-option";
    CALL(lto_codegen_debug_options_array)(cg, &option, 1);
    size_t length = 0;
    text = caught([&] { CALL(lto_codegen_compile)(cg, &length); });
    CHECK(has(text, "no-such-option"));
    CHECK(calls == 2);

    /* A path that cannot be written. */
    text = caught([&] {
      CALL(lto_codegen_write_merged_modules)(cg, "/nonexistent/folder/merged.bc");
    });
    CHECK(!text.empty() && calls == 3);
    CALL(lto_codegen_dispose)(cg);

    /* The same code generator goes on after an exception. */
    cg = CALL(lto_codegen_create)();
    CALL(lto_codegen_set_diagnostic_handler)(cg, throw_text, nullptr);
    module = CALL(lto_module_create_in_codegen_context)(bytes, size, argv[2], cg);
    CHECK(module && !CALL(lto_codegen_add_module)(cg, module));
    text = caught([&] { CALL(lto_codegen_add_module)(cg, module); });
    CHECK(has(text, "already"));
    text = caught([&] { CALL(lto_codegen_set_module)(cg, module); });
    CHECK(has(text, "already"));
    text = caught([&] {
      CALL(lto_codegen_write_merged_modules)(cg, "/nonexistent/folder/merged.bc");
    });
    CHECK(has(text, "/nonexistent/folder/merged.bc"));
    CALL(lto_module_dispose)(module);
    CALL(lto_codegen_add_must_preserve_symbol)(cg, "main");
    const void *object = CALL(lto_codegen_compile)(cg, &length);
    CHECK(object && length > 4 && !memcmp(object, "\177ELF", 4));
    CALL(lto_codegen_dispose)(cg);
  }
  free(bytes);
  return finish();
}
