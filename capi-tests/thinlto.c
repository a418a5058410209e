/* ThinLTO through the C ABI, in the order of ld64's calls.
 *
 *   thinlto LIBRARY MODE OUT CACHE PRESERVE MODULE...
 *
 * MODE is a word of letters: m objects in memory, which are written to OUT/<i>.o; f objects in files
 * of the folder OUT; s stages of every module into OUT/; c code generation only; b bitcode instead of
 * objects; w everything is in the cache, and no job is run; 2 code generation in two rounds, of which each has
 * its jobs; e an error is expected, of which the
 * message is printed. CACHE is a folder or "-". PRESERVE
 * is a list of symbols with commas. What is printed: the names of files, without folders. The
 * environment's DEBUG_OPTIONS are LLVM's options, as ld64 has them from -mllvm. */

#include "check.h"

#include <sys/stat.h>

static unsigned told, last_done, last_total;

static void on_progress(unsigned done, unsigned total, const char *name, void *context) {
  CHECK(context == &told);
  CHECK(done >= last_done && done <= total && (!name || name[0]));
  told++;
  last_done = done;
  last_total = total;
}

int main(int argc, char **argv) {
  if (argc < 7)
    return 2;
  load_library(argv[1]);
  const char *mode = argv[2], *out = argv[3], *cache = argv[4];
  int modules = argc - 6;
  char path[4096];

  CHECK(CALL(lto_api_version)() >= 21);
  const char *options[16];
  int num_options = 0;
  if (getenv("DEBUG_OPTIONS"))
    for (char *option = strtok(strdup(getenv("DEBUG_OPTIONS")), " "); option && num_options < 16; option = strtok(NULL, " "))
      options[num_options++] = option;
  CALL(thinlto_debug_options)(num_options ? options : NULL, num_options);
  thinlto_code_gen_t cg = CALL(thinlto_create_codegen)();
  CHECK(cg != NULL);
  if (strcmp(cache, "-")) {
    CALL(thinlto_codegen_set_cache_dir)(cg, cache);
    CALL(thinlto_codegen_set_cache_entry_expiration)(cg, 0);
    CALL(thinlto_codegen_set_final_cache_size_relative_to_available_space)(cg, 0);
  }
  if (strchr(mode, 's')) {
    snprintf(path, sizeof path, "%s/", out);
    CALL(thinlto_codegen_set_savetemps_dir)(cg, path);
  }
  CHECK(!CALL(thinlto_codegen_set_pic_model)(cg, LTO_CODEGEN_PIC_MODEL_DYNAMIC));
  for (char *name = strtok(argv[5], ","); name; name = strtok(NULL, ",")) {
    CALL(thinlto_codegen_add_must_preserve_symbol)(cg, name, (int)strlen(name));
    CALL(thinlto_codegen_add_must_preserve_symbol)(cg, name, (int)strlen(name));
  }
  for (int i = 0; i < modules; i++) {
    size_t size;
    char *bytes = read_file(argv[6 + i], &size);
    snprintf(path, sizeof path, "%s%d", argv[6 + i], i);
    /* LLVM keeps the pointer. */
    CALL(thinlto_codegen_add_module)(cg, strdup(path), bytes, (int)size);
  }
  if (strchr(mode, 'c'))
    CALL(thinlto_codegen_set_codegen_only)(cg, true);
  if (strchr(mode, 'b'))
    CALL(thinlto_codegen_disable_codegen)(cg, true);
  if (strchr(mode, 'f'))
    CALL(thinlto_set_generated_objects_dir)(cg, out);
  __typeof__(&thinlto_codegen_set_progress_callback) set_progress =
      (__typeof__(set_progress))dlsym(library, "thinlto_codegen_set_progress_callback");
  if (set_progress)
    set_progress(cg, on_progress, &told);

  CALL(thinlto_codegen_process)(cg);

  unsigned objects = CALL(thinlto_module_get_num_objects)(cg);
  unsigned files = CALL(thinlto_module_get_num_object_files)(cg);
  if (strchr(mode, 'e')) {
    CHECK(objects == 0 && files == 0 && message()[0]);
    printf("%s\n", message());
    return finish();
  }
  CHECK(objects == (strchr(mode, 'f') ? 0 : (unsigned)modules));
  CHECK(files == (strchr(mode, 'f') ? (unsigned)modules : 0));
  for (unsigned i = 0; i < objects; i++) {
    LTOObjectBuffer object = CALL(thinlto_module_get_object)(cg, i);
    LTOObjectBuffer again = CALL(thinlto_module_get_object)(cg, i);
    CHECK(object.Buffer && object.Buffer == again.Buffer && object.Size == again.Size);
    snprintf(path, sizeof path, "%s/%u.o", out, i);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(object.Buffer, 1, object.Size, file) == object.Size && !fclose(file));
  }
  for (unsigned i = 0; i < files; i++) {
    const char *name = CALL(thinlto_module_get_object_file)(cg, i);
    CHECK(name && name == CALL(thinlto_module_get_object_file)(cg, i));
    struct stat info;
    CHECK(!stat(name, &info) && info.st_size > 32);
    const char *slash = strrchr(name, '/');
    printf("%s\n", slash ? slash + 1 : name);
  }
  if (set_progress) {
    if (strchr(mode, 'w'))
      CHECK(told == 0);
    else if (!strcmp(cache, "-"))
      CHECK(told > 0 && last_done == last_total && last_total == (unsigned)modules * (strchr(mode, '2') ? 2 : 1));
    CHECK(CALL(thinlto_module_get_object)(cg, 1000).Buffer == NULL);
    CHECK_MESSAGE("1000");
    CHECK(CALL(thinlto_module_get_object_file)(cg, 1000) == NULL);
    CALL(thinlto_codegen_process)(cg);
    CHECK_MESSAGE("already");
  }
  /* ld disposes of no code generator. */
  return finish();
}
