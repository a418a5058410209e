/* Times calls of the ThinLTO file API (thinlto_file.h) by its C ABI.
 *
 *   index_bench LIBRARY has FILE            one lto_has_thinlto_index, by path
 *   index_bench LIBRARY has-memory FILE     the same in memory
 *   index_bench LIBRARY table FILE OUT      writes the index of FILE with a function table to OUT
 *   index_bench LIBRARY count FILE          how many functions, and how many copies of them
 *   index_bench LIBRARY whole FILE          lto_thinlto_create, one function looked up, dispose
 *   index_bench LIBRARY lazy FILE           lto_thinlto_create_lazy, one function read, dispose
 *   index_bench LIBRARY later FILE          one lto_thinlto_read_guid more of a lazy index
 *
 * But for `count`, prints one line, "<median microseconds> <answer>", where the answer of `whole` and `lazy` is the
 * instruction count of the same function. scripts/bench-index.sh drives it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "thinlto_file.h"

static void *library;

#define API(name) __typeof__(&name) p_##name = (__typeof__(&name))required(#name)

static void *required(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "index_bench: no %s\n", name);
        exit(2);
    }
    return found;
}

static void failed(const char *what) {
    API(lto_get_error_message);
    fprintf(stderr, "index_bench: %s: %s\n", what, p_lto_get_error_message());
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return values[n / 2];
}

/* Of the first copy of the value with this GUID: the sum of the instructions says what was read. */
static uint64_t instructions(thin_lto_t index, uint64_t guid) {
    API(lto_thinlto_find_guid);
    API(lto_thinlto_get_copy);
    API(lto_thinlto_get_summary);
    size_t value, summary;
    lto_thinlto_summary_info_t info = {.struct_size = sizeof info};
    if (p_lto_thinlto_find_guid(index, guid, &value) || p_lto_thinlto_get_copy(index, value, 0, &summary) ||
        p_lto_thinlto_get_summary(index, summary, &info))
        failed("find");
    return info.instruction_count;
}

/* GUIDs of functions spread over the index. */
static size_t some_guids(const char *path, uint64_t *guids, size_t most) {
    API(lto_thinlto_create);
    API(lto_thinlto_dispose);
    API(lto_thinlto_get_index_info);
    API(lto_thinlto_get_value);
    API(lto_thinlto_get_copy);
    API(lto_thinlto_get_summary);
    thin_lto_t index = p_lto_thinlto_create(path);
    if (!index)
        failed(path);
    lto_thinlto_index_info_t about = {.struct_size = sizeof about};
    if (p_lto_thinlto_get_index_info(index, &about))
        failed(path);
    size_t all = about.num_values, n = 0;
    for (size_t i = 0; i < most * 4 && n < most; i++) {
        size_t summary, value = (size_t)((double)all * (double)i / (double)(most * 4));
        lto_thinlto_value_info_t v = {.struct_size = sizeof v};
        lto_thinlto_summary_info_t s = {.struct_size = sizeof s};
        if (p_lto_thinlto_get_value(index, value, &v) || v.num_copies == 0 ||
            p_lto_thinlto_get_copy(index, value, 0, &summary) || p_lto_thinlto_get_summary(index, summary, &s) ||
            s.kind != LTO_THINLTO_FUNCTION)
            continue;
        guids[n++] = v.guid;
    }
    p_lto_thinlto_dispose(index);
    return n;
}

static void count(const char *path) {
    API(lto_thinlto_create);
    API(lto_thinlto_dispose);
    API(lto_thinlto_get_index_info);
    API(lto_thinlto_get_value);
    API(lto_thinlto_get_copy);
    API(lto_thinlto_get_summary);
    thin_lto_t index = p_lto_thinlto_create(path);
    lto_thinlto_index_info_t about = {.struct_size = sizeof about};
    if (!index || p_lto_thinlto_get_index_info(index, &about))
        failed(path);
    size_t functions = 0, copies = 0;
    for (size_t value = 0; value < about.num_values; value++) {
        size_t summary;
        lto_thinlto_value_info_t v = {.struct_size = sizeof v};
        lto_thinlto_summary_info_t s = {.struct_size = sizeof s};
        if (p_lto_thinlto_get_value(index, value, &v))
            failed(path);
        if (v.num_copies == 0)
            continue;
        if (p_lto_thinlto_get_copy(index, value, 0, &summary) || p_lto_thinlto_get_summary(index, summary, &s))
            failed(path);
        if (s.kind == LTO_THINLTO_FUNCTION) {
            functions++;
            copies += v.num_copies;
        }
    }
    printf("%zu %zu\n", functions, copies);
    p_lto_thinlto_dispose(index);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: see the head of index_bench.c\n");
        return 2;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "index_bench: %s\n", dlerror());
        return 2;
    }
    const char *mode = argv[2], *path = argv[3];
    enum { CALLS = 1001, GUIDS = 501 };
    static double times[CALLS];
    if (!strcmp(mode, "has") || !strcmp(mode, "has-memory")) {
        API(lto_has_thinlto_index);
        API(lto_has_thinlto_index_in_memory);
        struct stat st;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st)) {
            perror(path);
            return 2;
        }
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        int answer = 0;
        for (size_t i = 0; i < CALLS; i++) {
            double start = now();
            answer += mode[3] ? p_lto_has_thinlto_index_in_memory(data, (size_t)st.st_size)
                              : p_lto_has_thinlto_index(path);
            times[i] = now() - start;
        }
        printf("%.2f %s\n", median(times, CALLS), answer == CALLS ? "yes" : answer ? "?" : "no");
        return 0;
    }
    if (!strcmp(mode, "count")) {
        count(path);
        return 0;
    }
    API(lto_thinlto_create);
    API(lto_thinlto_create_lazy);
    API(lto_thinlto_dispose);
    API(lto_thinlto_read_guid);
    if (!strcmp(mode, "table") && argc == 5) {
        API(lto_thinlto_write_to_file_with_options);
        thin_lto_t index = p_lto_thinlto_create(path);
        lto_thinlto_write_options_t options = {.struct_size = sizeof options, .function_table = true};
        if (!index || p_lto_thinlto_write_to_file_with_options(index, argv[4], NULL, &options))
            failed(argv[4]);
        return 0;
    }
    static uint64_t guids[GUIDS];
    size_t n = some_guids(path, guids, GUIDS);
    if (n == 0) {
        fprintf(stderr, "index_bench: %s has no functions\n", path);
        return 2;
    }
    uint64_t wanted = guids[n / 2], answer = 0;
    size_t calls = 0;
    if (!strcmp(mode, "later")) {
        thin_lto_t index = p_lto_thinlto_create_lazy(path);
        if (!index)
            failed(path);
        for (; calls < n; calls++) {
            double start = now();
            thin_lto_t one = p_lto_thinlto_read_guid(index, guids[calls]);
            times[calls] = now() - start;
            if (!one)
                failed("read_guid");
            answer += instructions(one, guids[calls]);
            p_lto_thinlto_dispose(one);
        }
    } else {
        int lazy = !strcmp(mode, "lazy");
        for (calls = 0; calls < 7; calls++) {
            double start = now();
            thin_lto_t index = lazy ? p_lto_thinlto_create_lazy(path) : p_lto_thinlto_create(path);
            thin_lto_t one = lazy && index ? p_lto_thinlto_read_guid(index, wanted) : index;
            if (!one)
                failed(path);
            answer = instructions(one, wanted);
            if (lazy)
                p_lto_thinlto_dispose(one);
            p_lto_thinlto_dispose(index);
            times[calls] = now() - start;
        }
    }
    printf("%.2f %lu\n", median(times, calls), (unsigned long)answer);
    return 0;
}
