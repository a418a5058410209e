/* What the programs of this folder share: loading the library under test, and checks that count
 * failures instead of ending the program. Each program gets the library's path as its first
 * argument, and returns 0 if everything held. */

#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/lto.h>

static void *library;
static int failures;
static int checks;

static inline void load_library(const char *path) {
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    exit(2);
  }
}

static inline void *find(const char *name) {
  void *address = dlsym(library, name);
  if (!address) {
    fprintf(stderr, "%s is not exported\n", name);
    exit(2);
  }
  return address;
}

/* A function of the header, looked up in the library, with the type that the header gives it. */
#define CALL(name) ((__typeof__(&name))find(#name))

static inline const char *message(void) {
  return ((__typeof__(&lto_get_error_message))find("lto_get_error_message"))();
}

#define CHECK(condition)                                                                          \
  do {                                                                                            \
    checks++;                                                                                     \
    if (!(condition)) {                                                                           \
      failures++;                                                                                 \
      fprintf(stderr, "%s:%d: %s does not hold; the last message is \"%s\"\n", __FILE__,          \
              __LINE__, #condition, message());                                                   \
    }                                                                                             \
  } while (0)

/* The call failed just now and the message says what: the text is in it. */
#define CHECK_MESSAGE(text)                                                                       \
  do {                                                                                            \
    checks++;                                                                                     \
    if (!strstr(message(), text)) {                                                               \
      failures++;                                                                                 \
      fprintf(stderr, "%s:%d: \"%s\" is not in the message \"%s\"\n", __FILE__, __LINE__, text,   \
              message());                                                                         \
    }                                                                                             \
  } while (0)

static inline void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(2);
  }
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *bytes = (char *)malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, file) != *size) {
    perror(path);
    exit(2);
  }
  bytes[*size] = 0;
  fclose(file);
  return bytes;
}

static inline int finish(void) {
  if (!checks) {
    fprintf(stderr, "nothing was checked\n");
    return 2;
  }
  return failures ? 1 : 0;
}

#endif
