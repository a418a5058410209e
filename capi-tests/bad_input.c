/* Damaged, foreign and missing files: an error that names the file and the cause, and nothing
 * worse. What is damaged and still readable may be read; it must not crash, and what is listed of
 * it must be strings.
 *
 *   bad_input LIBRARY BITCODE FOLDER */

#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long accepted, refused;

/* Asks a module everything there is to ask. */
static void walk(lto_module_t module) {
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  for (unsigned i = 0; i < n; i++) {
    const char *name = CALL(lto_module_get_symbol_name)(module, i);
    if (!name || strlen(name) > (1u << 20))
      CHECK(!"a name");
    CALL(lto_module_get_symbol_attribute)(module, i);
  }
  n = CALL(lto_module_get_num_asm_undef_symbols)(module);
  for (unsigned i = 0; i < n; i++)
    if (!CALL(lto_module_get_asm_undef_symbol_name)(module, i))
      CHECK(!"a name");
  unsigned a, b;
  CALL(lto_module_get_macho_cputype)(module, &a, &b);
  if (!CALL(lto_module_get_linkeropts)(module) || !CALL(lto_module_get_target_triple)(module))
    CHECK(!"a string");
  CALL(lto_module_has_ctor_dtor)(module);
  CALL(lto_module_is_thinlto)(module);
}

static void feed(const void *bytes, size_t size) {
  CALL(lto_module_is_object_file_in_memory)(bytes, size);
  CALL(lto_module_is_object_file_in_memory_for_target)(bytes, size, "x86_64-");
  CALL(lto_module_has_objc_category)(bytes, size);
  lto_module_t module = CALL(lto_module_create_in_local_context)(bytes, size, "fed.o");
  if (module) {
    accepted++;
    walk(module);
    CALL(lto_module_dispose)(module);
  } else {
    refused++;
    if (!strstr(message(), "fed.o"))
      CHECK_MESSAGE("fed.o");
  }
  lto_input_t input = CALL(lto_input_create)(bytes, size, "fed.o");
  if (input) {
    unsigned n = CALL(lto_input_get_num_dependent_libraries)(input);
    for (unsigned i = 0; i < n; i++) {
      size_t length = 0;
      const char *name = CALL(lto_input_get_dependent_library)(input, i, &length);
      if (!name || length > size)
        CHECK(!"a library");
    }
    CALL(lto_input_dispose)(input);
  } else if (!strstr(message(), "fed.o")) {
    CHECK_MESSAGE("fed.o");
  }
}

static uint64_t state = 0x9e3779b97f4a7c15u;
static uint64_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/* The error names the path and has more to say than the path. What begins like bitcode is taken
 * for an object file, as LLVM does, until somebody looks into it. */
static void refuses_path(const char *path, int begins_like_bitcode) {
  CHECK(CALL(lto_module_is_object_file)(path) == begins_like_bitcode);
  CHECK(!CALL(lto_module_is_object_file_for_target)(path, "x86_64-"));
  CHECK(!CALL(lto_module_create)(path));
  CHECK_MESSAGE(path);
  CHECK(strlen(message()) > strlen(path) + 4);
}

static char *in_folder(const char *folder, const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static char *write_bytes(const char *folder, const char *name, const void *bytes, size_t size) {
  char *path = in_folder(folder, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
    exit(2);
  return path;
}

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  load_library(argv[1]);
  const char *folder = argv[3];
  size_t size;
  uint8_t *bytes = read_file(argv[2], &size);
  uint8_t *copy = malloc(size + 64);

  /* Paths. */
  refuses_path("/nonexistent/file.o", 0);
  refuses_path(folder, 0);
  refuses_path("/dev/null", 0);
  refuses_path(write_bytes(folder, "empty.o", "", 0), 0);
  refuses_path(write_bytes(folder, "text.o", "INPUT ( a.o )\n", 14), 0);
  refuses_path(write_bytes(folder, "magic.o", "BC\300\336", 4), 1);
  refuses_path(write_bytes(folder, "half.o", bytes, size / 2 & ~(size_t)3), 1);
  refuses_path(write_bytes(folder, "odd.o", bytes, size - 1), 1);
  char *secret = write_bytes(folder, "secret.o", bytes, size);
  chmod(secret, 0);
  if (geteuid())
    refuses_path(secret, 0);
  unlink(secret);
  /* A wrapper whose length is beyond all bounds. */
  uint32_t header[5] = {0x0B17C0DE, 0, 20, 0xfffffff0, 7};
  memcpy(copy, header, sizeof header);
  memcpy(copy + 20, bytes, size);
  refuses_path(write_bytes(folder, "wrapper.o", copy, size + 20), 1);

  /* Descriptors. */
  int fd = open(argv[2], O_RDONLY);
  int dir = open(folder, O_RDONLY);
  int ends[2];
  if (fd < 0 || dir < 0 || pipe(ends))
    return 2;
  CHECK(!CALL(lto_module_create_from_fd)(dir, "folder.o", size));
  CHECK_MESSAGE("folder.o");
  CHECK(!CALL(lto_module_create_from_fd_at_offset)(fd, "past.o", size, size, (off_t)size * 4));
  CHECK_MESSAGE("past.o");
  CHECK(!CALL(lto_module_create_from_fd_at_offset)(fd, "past.o", size, size, 8));
  CHECK_MESSAGE("past.o");
  CHECK(!CALL(lto_module_create_from_fd)(ends[1], "writing.o", size));
  CHECK_MESSAGE("writing.o");
  close(ends[0]);
  close(ends[1]);
  CHECK(!CALL(lto_module_create_from_fd)(ends[0], "closed.o", size));
  CHECK_MESSAGE("closed.o");

  /* Every length. The copy ends where its memory does, for the sake of valgrind. */
  for (size_t length = 0; length < size; length += length < 256 ? 1 : 61) {
    uint8_t *part = malloc(length ? length : 1);
    memcpy(part, bytes, length);
    feed(part, length);
    free(part);
  }
  CHECK(refused > 100);
  refused = accepted = 0;
  /* Bits. */
  for (size_t bit = 0; bit < size * 8; bit += 1 + size / 700) {
    memcpy(copy, bytes, size);
    copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    feed(copy, size);
  }
  for (int round = 0; round < 3000; round++) {
    memcpy(copy, bytes, size);
    for (uint64_t flips = 1 + next_random() % 8; flips; flips--)
      copy[next_random() % size] ^= (uint8_t)(1 << next_random() % 8);
    if (round % 4 == 0)
      memset(copy + next_random() % (size - 4), 0xff, 4);
    feed(copy, size);
  }
  CHECK(refused > 100 && accepted > 100);

  size_t length = 0;
  lto_code_gen_t cg;
  /* Fed with damaged modules the code generator fails or works, and the process lives. */
  int worked = 0, failed = 0;
  for (int round = 0; round < 60; round++) {
    memcpy(copy, bytes, size);
    if (round)
      copy[size / 4 + next_random() % (size / 2)] ^= (uint8_t)(1 << next_random() % 8);
    cg = CALL(lto_codegen_create)();
    lto_module_t module = CALL(lto_module_create_from_memory_with_path)(copy, size, "fed.o");
    if (module) {
      CALL(lto_codegen_add_module)(cg, module);
      CALL(lto_module_dispose)(module);
      CALL(lto_codegen_add_must_preserve_symbol)(cg, "main");
      const void *object = CALL(lto_codegen_compile)(cg, &length);
      if (object)
        worked++;
      else {
        failed++;
        CHECK(message()[0]);
      }
    }
    CALL(lto_codegen_dispose)(cg);
  }
  CHECK(worked > 0 && failed > 0);
  printf("compiled %d, refused %d\n", worked, failed);
  return finish();
}
