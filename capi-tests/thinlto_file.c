/* The ThinLTO file API: is there an index, read it, look at it, merge, write, wrapped and raw.
 *
 *   thinlto_file LIBRARY MODULE PLAIN OTHER FOLDER
 *
 * MODULE is inputs/program.c with a summary, PLAIN the same without, OTHER another with one. */

#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thinlto_file.h>

static void same_files(const char *a, const char *b) {
  size_t m, n;
  char *x = read_file(a, &m), *y = read_file(b, &n);
  CHECK(m == n && !memcmp(x, y, m));
  free(x);
  free(y);
}

static void *in_thread(void *path) {
  CHECK(!CALL(lto_thinlto_create)(path));
  CHECK(strstr(message(), "no-such-file"));
  return NULL;
}

static void look(const char *path) {
  thin_lto_t index = CALL(lto_thinlto_create)(path);
  CHECK(index);
  CHECK(!CALL(lto_thinlto_is_combined)(index));
  CHECK(CALL(lto_thinlto_get_num_modules)(index) == 1);
  CHECK(!strcmp(CALL(lto_thinlto_get_module_path)(index, 0), path));
  CHECK(!CALL(lto_thinlto_get_module_path)(index, 1));
  size_t id = 9, first = 9, count = 0;
  CHECK(!CALL(lto_thinlto_get_module_id)(index, path, &id) && id == 0);
  CHECK(CALL(lto_thinlto_get_module_id)(index, "nonesuch", &id));
  CHECK(!CALL(lto_thinlto_get_module_summaries)(index, 0, &first, &count) && first == 0);
  lto_thinlto_index_info_t info = {.struct_size = sizeof info};
  CHECK(!CALL(lto_thinlto_get_index_info)(index, &info));
  CHECK(info.struct_size == sizeof info && info.num_summaries == count && count >= 8);
  CHECK(info.num_modules == 1 && !info.is_combined);

  /* main calls weak_one and printf. */
  size_t value, summary, found = 0;
  CHECK(!CALL(lto_thinlto_find_name)(index, "main", &value));
  lto_thinlto_value_info_t named = {.struct_size = sizeof named};
  CHECK(!CALL(lto_thinlto_get_value)(index, value, &named));
  CHECK(!strcmp(named.name, "main") && named.num_copies == 1);
  size_t again = 0;
  CHECK(!CALL(lto_thinlto_find_guid)(index, named.guid, &again) && again == value);
  CHECK(CALL(lto_thinlto_find_guid)(index, 12345, &again));
  CHECK(!CALL(lto_thinlto_get_copy)(index, value, 0, &summary));
  CHECK(CALL(lto_thinlto_get_copy)(index, value, 1, &summary));
  lto_thinlto_summary_info_t s = {.struct_size = sizeof s};
  CHECK(!CALL(lto_thinlto_get_summary)(index, summary, &s));
  CHECK(s.kind == LTO_THINLTO_FUNCTION && s.linkage == LTO_THINLTO_EXTERNAL);
  CHECK(s.guid == named.guid && s.value == value && s.module == 0 && s.visibility == 0);
  CHECK(s.instruction_count > 3 && s.aliasee == LTO_THINLTO_NONE && s.num_calls >= 1);
  for (size_t i = 0; i < s.num_calls; i++) {
    lto_thinlto_call_t call = {.struct_size = sizeof call};
    CHECK(!CALL(lto_thinlto_get_call)(index, summary, i, &call));
    CHECK(!CALL(lto_thinlto_get_value)(index, call.callee, &named));
    found += !strcmp(named.name, "printf") || !strcmp(named.name, "weak_one");
  }
  CHECK(found == 2);
  lto_thinlto_call_t none = {.struct_size = sizeof none};
  CHECK(CALL(lto_thinlto_get_call)(index, summary, s.num_calls, &none));

  /* A hidden variable. */
  CHECK(!CALL(lto_thinlto_find_name)(index, "hidden_one", &value));
  CHECK(!CALL(lto_thinlto_get_copy)(index, value, 0, &summary));
  s.struct_size = sizeof s;
  CHECK(!CALL(lto_thinlto_get_summary)(index, summary, &s));
  CHECK(s.kind == LTO_THINLTO_VARIABLE && s.visibility == 1);
  CHECK(s.original_name == s.guid && s.num_calls == 0);
  /* A structure too small is refused, and so is one without a size. */
  s.struct_size = 8;
  CHECK(CALL(lto_thinlto_get_summary)(index, summary, &s));
  CHECK(CALL(lto_thinlto_get_summary)(index, summary, NULL));
  CHECK(CALL(lto_thinlto_get_summary)(index, 1u << 30, &s));
  CALL(lto_thinlto_dispose)(index);
  CHECK(!CALL(lto_thinlto_get_num_modules)(index));
}

int main(int argc, char **argv) {
  CHECK(argc == 6);
  load_library(argv[1]);
  const char *module = argv[2], *plain = argv[3], *other = argv[4];
  char raw[4096], wrapped[4096], again[4096], sub[4096];
  snprintf(raw, sizeof raw, "%s/combined.bc", argv[5]);
  snprintf(wrapped, sizeof wrapped, "%s/combined.o", argv[5]);
  snprintf(again, sizeof again, "%s/again.bc", argv[5]);
  snprintf(sub, sizeof sub, "%s/no-such-folder/x", argv[5]);

  CHECK(CALL(lto_has_thinlto_index)(module));
  CHECK(!CALL(lto_has_thinlto_index)(plain));
  CHECK(!CALL(lto_has_thinlto_index)("no-such-file"));
  CHECK(!CALL(lto_has_thinlto_index)(NULL));
  size_t length;
  char *bytes = read_file(module, &length);
  CHECK(CALL(lto_has_thinlto_index_in_memory)(bytes, length));
  CHECK(!CALL(lto_has_thinlto_index_in_memory)(bytes, 40));
  CHECK(!CALL(lto_has_thinlto_index_in_memory)(NULL, 0));
  CHECK(!CALL(lto_thinlto_create)(plain) && strstr(message(), "summary"));

  look(module);

  /* The buffer may go away; a descriptor's position stays. */
  thin_lto_t one = CALL(lto_thinlto_create_from_memory)(bytes, module, length);
  memset(bytes, 0xff, length);
  free(bytes);
  CHECK(one);
  int fd = open(other, O_RDONLY);
  lseek(fd, 5, SEEK_SET);
  thin_lto_t two = CALL(lto_thinlto_create_from_fd)(fd, other, 0);
  CHECK(two && lseek(fd, 0, SEEK_CUR) == 5);
  close(fd);
  CHECK(!CALL(lto_thinlto_create_from_fd)(-1, "closed", 0));

  thin_lto_t all = CALL(lto_thinlto_create_empty)();
  CHECK(all);
  CHECK(!CALL(lto_thinlto_merge)(all, one) && !CALL(lto_thinlto_merge)(all, two));
  CHECK(CALL(lto_thinlto_merge)(all, one) && strstr(message(), "already"));
  CHECK(CALL(lto_thinlto_merge)(all, all) && CALL(lto_thinlto_merge)(all, NULL));
  CHECK(CALL(lto_thinlto_is_combined)(all) && !CALL(lto_thinlto_is_combined)(one));
  CHECK(CALL(lto_thinlto_get_num_modules)(all) == 2);
  const char *path = CALL(lto_thinlto_get_module_path)(all, 1);
  CHECK(!strcmp(path, other));
  /* Both modules define main: both copies are kept. */
  size_t value;
  lto_thinlto_value_info_t info = {.struct_size = sizeof info};
  CHECK(!CALL(lto_thinlto_find_name)(all, "main", &value));
  CHECK(!CALL(lto_thinlto_get_value)(all, value, &info) && info.num_copies == 2);

  CHECK(!CALL(lto_thinlto_write_to_file)(all, raw, NULL));
  CHECK(!CALL(lto_thinlto_write_to_file)(all, wrapped, "x86_64-unknown-linux-gnu"));
  CHECK(CALL(lto_thinlto_write_to_file)(all, sub, NULL));
  CHECK(CALL(lto_thinlto_write_to_file)(all, wrapped, "nonesuch-unknown-linux"));
  CHECK(strstr(message(), "nonesuch"));
  CHECK(CALL(lto_has_thinlto_index)(raw) && CALL(lto_has_thinlto_index)(wrapped));
  const char *files[] = {raw, wrapped};
  for (int i = 0; i < 2; i++) {
    thin_lto_t read = CALL(lto_thinlto_create)(files[i]);
    CHECK(read && CALL(lto_thinlto_is_combined)(read));
    CHECK(CALL(lto_thinlto_get_num_modules)(read) == 2);
    CHECK(!strcmp(CALL(lto_thinlto_get_module_path)(read, 0), module));
    CHECK(!CALL(lto_thinlto_write_to_file)(read, again, NULL));
    same_files(raw, again);
    CALL(lto_thinlto_dispose)(read);
  }
  lto_thinlto_write_options_t options = {.struct_size = sizeof options, .format = 13};
  CHECK(CALL(lto_thinlto_write_to_file_with_options)(all, again, NULL, &options));
  options.format = 19;
  CHECK(!CALL(lto_thinlto_write_to_file_with_options)(all, again, NULL, &options));
  thin_lto_t older = CALL(lto_thinlto_create)(again);
  lto_thinlto_index_info_t whole = {.struct_size = sizeof whole};
  CHECK(!CALL(lto_thinlto_get_index_info)(older, &whole) && whole.version == 10);
  CALL(lto_thinlto_dispose)(older);

  /* One function at a time, with a table in the file and without. */
  options.format = 0;
  options.function_table = 1;
  CHECK(!CALL(lto_thinlto_write_to_file_with_options)(all, again, NULL, &options));
  for (int i = 0; i < 3; i++) {
    thin_lto_t lazy = CALL(lto_thinlto_create_lazy)(i ? files[i - 1] : again);
    CHECK(lazy);
    thin_lto_t found = CALL(lto_thinlto_read_function)(lazy, "main");
    CHECK(found && !CALL(lto_thinlto_find_name)(found, "main", &value));
    info.struct_size = sizeof info;
    CHECK(!CALL(lto_thinlto_get_value)(found, value, &info) && info.num_copies == 2);
    size_t summary;
    CHECK(!CALL(lto_thinlto_get_copy)(found, value, 1, &summary));
    lto_thinlto_summary_info_t s = {.struct_size = sizeof s};
    CHECK(!CALL(lto_thinlto_get_summary)(found, summary, &s) && s.num_calls >= 1);
    CHECK(!strcmp(CALL(lto_thinlto_get_module_path)(found, s.module), other));
    thin_lto_t by_guid = CALL(lto_thinlto_read_guid)(lazy, info.guid);
    CHECK(by_guid);
    CHECK(!CALL(lto_thinlto_read_function)(lazy, "nonesuch"));
    CHECK(!CALL(lto_thinlto_read_function)(all, "main") && strstr(message(), "lazily"));
    CHECK(CALL(lto_thinlto_get_num_modules)(lazy) == 2);
    CALL(lto_thinlto_dispose)(lazy);
    CALL(lto_thinlto_dispose)(by_guid);
    CALL(lto_thinlto_dispose)(found);
  }
  CHECK(!CALL(lto_thinlto_create_lazy)(plain));

  /* The summary of one module goes into a file that has none, and comes back the same. */
  CHECK(CALL(lto_thinlto_write_module_index)(all, NULL, plain, again, NULL));
  CHECK(!CALL(lto_thinlto_write_module_index)(all, module, plain, again, NULL));
  CHECK(CALL(lto_has_thinlto_index)(again));
  look(again);

  /* A truncated index is an error, and nothing of it is written. */
  bytes = read_file(raw, &length);
  CHECK(!CALL(lto_thinlto_create_from_memory)(bytes, "cut", length / 8 * 4) && *message());
  free(bytes);

  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, "no-such-file");
  CHECK(!CALL(lto_thinlto_create)(sub));
  pthread_join(thread, NULL);
  CHECK(strstr(message(), "no-such-folder"));

  CALL(lto_thinlto_dispose)(one);
  CALL(lto_thinlto_dispose)(two);
  CHECK(!strcmp(path, other));
  CALL(lto_thinlto_dispose)(all);
  CALL(lto_thinlto_dispose)(all);
  CHECK(strstr(message(), "disposed"));
  return finish();
}
