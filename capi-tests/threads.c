/* Each thread has its own message, and all may use the library at once, even the same module.
 *
 *   threads LIBRARY BITCODE */

#include "check.h"

#include <pthread.h>

static const char *path;
static char *bytes;
static size_t size;
static lto_module_t shared, contested;
static int disposals;
static pthread_barrier_t barrier;

static void *own_message(void *number) {
  char missing[64];
  snprintf(missing, sizeof missing, "/nonexistent/%ld", (long)(intptr_t)number);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 500; i++) {
    if (CALL(lto_module_create)(missing))
      return "a missing file was read";
    if (!strstr(message(), missing))
      return "the message is another thread's";
  }
  pthread_barrier_wait(&barrier);
  return strstr(message(), missing) ? NULL : "the message was lost";
}

static void *own_modules(void *unused) {
  (void)unused;
  pthread_barrier_wait(&barrier);
  unsigned expected = CALL(lto_module_get_num_symbols)(shared);
  for (int i = 0; i < 200; i++) {
    lto_module_t module = CALL(lto_module_create_in_local_context)(bytes, size, path);
    if (!module || CALL(lto_module_get_num_symbols)(module) != expected)
      return "the module is not what it was";
    for (unsigned s = 0; s < expected; s++)
      if (strcmp(CALL(lto_module_get_symbol_name)(module, s),
                 CALL(lto_module_get_symbol_name)(shared, s)))
        return "a symbol has another name";
    CALL(lto_module_dispose)(module);
    if (CALL(lto_module_get_num_symbols)(module))
      return "a module was there after its end";
  }
  return NULL;
}

static void *dispose_once(void *unused) {
  (void)unused;
  pthread_barrier_wait(&barrier);
  CALL(lto_module_create)("/nonexistent/before");
  CALL(lto_module_dispose)(contested);
  if (strstr(message(), "/nonexistent/before"))
    __atomic_add_fetch(&disposals, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void run(void *(*body)(void *)) {
  pthread_t threads[4];
  pthread_barrier_init(&barrier, NULL, 4);
  for (intptr_t i = 0; i < 4; i++)
    if (pthread_create(&threads[i], NULL, body, (void *)i))
      exit(2);
  for (int i = 0; i < 4; i++) {
    void *complaint = NULL;
    pthread_join(threads[i], &complaint);
    if (complaint)
      fprintf(stderr, "%s\n", (char *)complaint);
    CHECK(complaint == NULL);
  }
  pthread_barrier_destroy(&barrier);
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  load_library(argv[1]);
  path = argv[2];
  bytes = read_file(path, &size);
  CALL(lto_module_create)("/nonexistent/main");
  run(own_message);
  CHECK_MESSAGE("/nonexistent/main");
  shared = CALL(lto_module_create_in_local_context)(bytes, size, path);
  CHECK(shared != NULL);
  run(own_modules);
  for (int i = 0; i < 100; i++) {
    contested = CALL(lto_module_create_in_local_context)(bytes, size, path);
    disposals = 0;
    run(dispose_once);
    CHECK(disposals == 1);
  }
  return finish();
}
