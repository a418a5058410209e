/* ar, nm and ranlib load the library anew for each file: loading and unloading it leaves no
 * descriptor, thread or mapping behind.
 *
 *   reload LIBRARY BITCODE */

#include "check.h"

#include <dirent.h>

static int entries(const char *folder) {
  DIR *dir = opendir(folder);
  int n = 0;
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

static int mappings_of(const char *name) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[4096];
  int n = 0;
  while (maps && fgets(line, sizeof line, maps))
    n += strstr(line, name) != NULL;
  if (maps)
    fclose(maps);
  return n;
}

static size_t heap(void) {
  FILE *status = fopen("/proc/self/statm", "r");
  size_t pages = 0;
  if (!status || fscanf(status, "%zu", &pages) != 1)
    exit(2);
  fclose(status);
  return pages;
}

/* What a tool does with a file, and what goes wrong on the way. */
static void use(const char *path, const void *bytes, size_t size) {
  lto_module_t module = CALL(lto_module_create_in_local_context)(bytes, size, path);
  unsigned n = CALL(lto_module_get_num_symbols)(module);
  for (unsigned i = 0; i < n; i++)
    if (!CALL(lto_module_get_symbol_name)(module, i))
      failures++;
  if (!module || !n)
    failures++;
  CALL(lto_module_create)("/nonexistent");
  lto_input_t input = CALL(lto_input_create)(bytes, size, path);
  CALL(lto_input_dispose)(input);
  CALL(lto_module_dispose)(module);
  module = CALL(lto_module_create)(path);
  CALL(lto_module_dispose)(module);
  lto_code_gen_t cg = CALL(lto_codegen_create)();
  CALL(lto_codegen_dispose)(cg);
  CALL(thinlto_codegen_dispose)(CALL(thinlto_create_codegen)());
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  size_t size;
  void *bytes = read_file(argv[2], &size);
  const char *name = strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1];
  int fds = 0, threads = 0;
  size_t pages = 0;
  for (int round = 0; round < 110; round++) {
    load_library(argv[1]);
    use(argv[2], bytes, size);
    if (dlclose(library)) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    checks++;
    int left = mappings_of(name);
    if (left) {
      fprintf(stderr, "round %d: %d mappings of the library are left\n", round, left);
      return 1;
    }
    /* The first rounds warm up the loader and malloc. */
    if (round == 10) {
      fds = entries("/proc/self/fd");
      threads = entries("/proc/self/task");
      pages = heap();
    }
  }
  int more_fds = entries("/proc/self/fd") - fds;
  int more_threads = entries("/proc/self/task") - threads;
  size_t now = heap();
  if (more_fds || more_threads || now > pages + 64) {
    fprintf(stderr, "left behind: %d descriptors, %d threads, %zd pages\n", more_fds,
            more_threads, (ssize_t)(now - pages));
    return 1;
  }
  return failures ? 1 : 0;
}
