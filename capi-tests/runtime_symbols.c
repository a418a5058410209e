/* Prints the names of lto_runtime_lib_symbols_list.
 *
 *   runtime_symbols LIBRARY */

#include "check.h"

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  load_library(argv[1]);
  size_t size = 0;
  const char *const *names = CALL(lto_runtime_lib_symbols_list)(&size);
  CHECK(names && size);
  for (size_t i = 0; i < size; i++)
    if (names[i])
      puts(names[i]);
  return finish();
}
