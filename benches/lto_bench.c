/* Times a libLTO.so, ours or LLVM's, through nothing but its C ABI, and prints what it answered.
 *
 *   lto_bench LIBRARY process N FILE        N whole processes: dlopen, create_in_local_context, list, exit
 *   lto_bench LIBRARY local N FILE...       all symbols by create_in_local_context, walk, dispose
 *   lto_bench LIBRARY memory N FILE...      the same by create_from_memory
 *   lto_bench LIBRARY input N FILE...       lto_input_create and dispose, no walk
 *   lto_bench LIBRARY codegen OUT FILE...   regular LTO of all files into the object OUT
 *   lto_bench LIBRARY one FILE              what `process` runs: one file, names not printed, exit
 *
 * LIBRARY may be `-` for `process`: empty processes, whose cost is in both libraries' figures.
 *
 * Prints one line: "<median ms> <peak KiB> <checksum>"; `local`, `memory` and `input` print time of
 * the processor. The checksum is over every name and attribute
 * in order, so two libraries that print the same one gave the same answer. Files that are not
 * bitcode (a native object among the others) are passed over. scripts/bench.sh drives it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "llvm-c/lto.h"

typedef struct {
    const char *path;
    void *data;
    size_t size;
} File;

static void *library;

#define API(name) __typeof__(&name) p_##name = (__typeof__(&name))required(#name)

static void *required(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "lto_bench: no %s\n", name);
        exit(2);
    }
    return found;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Of this thread alone, for what runs in it alone: other programs count less. */
static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static long peak_kib(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    return usage.ru_maxrss;
}

static int map_file(const char *path, File *file) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        exit(2);
    }
    file->path = path;
    file->size = (size_t)st.st_size;
    file->data = file->size ? mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (file->data == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    return file->size > 4 && (!memcmp(file->data, "BC\xc0\xde", 4) || !memcmp(file->data, "\xde\xc0\x17\x0b", 4));
}

static uint64_t mix_number(uint64_t hash, uint64_t number) {
    hash = (hash ^ number) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
}

/* Eight bytes at a time: what is timed is the library and not this. */
static uint64_t mix_string(uint64_t hash, const char *text) {
    size_t length = strlen(text), i = 0;
    uint64_t word;
    for (; i + sizeof word <= length; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        hash = mix_number(hash, word);
    }
    word = 0;
    memcpy(&word, text + i, length - i);
    return mix_number(hash, word ^ (uint64_t)length << 56);
}

static void failed(const File *file) {
    const char *(*message)(void) = (const char *(*)(void))required("lto_get_error_message");
    fprintf(stderr, "lto_bench: %s: %s\n", file->path, message());
    exit(1);
}

/* What a client of symbols calls; looked up once, as clients do. */
static __typeof__(&lto_module_create_in_local_context) p_create_local;
static __typeof__(&lto_module_create_from_memory) p_create_from_memory;
static __typeof__(&lto_module_dispose) p_dispose;
static __typeof__(&lto_module_get_num_symbols) p_get_num_symbols;
static __typeof__(&lto_module_get_symbol_name) p_get_symbol_name;
static __typeof__(&lto_module_get_symbol_attribute) p_get_symbol_attribute;

static void look_up(void) {
    p_create_local = required("lto_module_create_in_local_context");
    p_create_from_memory = required("lto_module_create_from_memory");
    p_dispose = required("lto_module_dispose");
    p_get_num_symbols = required("lto_module_get_num_symbols");
    p_get_symbol_name = required("lto_module_get_symbol_name");
    p_get_symbol_attribute = required("lto_module_get_symbol_attribute");
}

/* Every name and attribute, as ld64 and nm ask for them. */
static uint64_t walk(uint64_t hash, lto_module_t module) {
    unsigned count = p_get_num_symbols(module);
    hash = mix_number(hash, count);
    for (unsigned i = 0; i < count; i++) {
        hash = mix_string(hash, p_get_symbol_name(module, i));
        hash = mix_number(hash, (uint64_t)p_get_symbol_attribute(module, i));
    }
    return hash;
}

static uint64_t symbols_once(const File *files, int n, int local) {
    uint64_t hash = 14695981039346656037ull;
    for (int i = 0; i < n; i++) {
        lto_module_t module = local
            ? p_create_local(files[i].data, files[i].size, files[i].path)
            : p_create_from_memory(files[i].data, files[i].size);
        if (!module)
            failed(&files[i]);
        hash = walk(hash, module);
        p_dispose(module);
    }
    return hash;
}

static uint64_t input_once(const File *files, int n) {
    API(lto_input_create);
    API(lto_input_dispose);
    for (int i = 0; i < n; i++) {
        lto_input_t input = p_lto_input_create(files[i].data, files[i].size, files[i].path);
        if (!input)
            failed(&files[i]);
        p_lto_input_dispose(input);
    }
    return (uint64_t)n;
}

/* The calls of ld64 for regular LTO of an executable, with `main` to keep. */
static uint64_t codegen_once(const File *files, int n, const char *out) {
    API(lto_codegen_create_in_local_context);
    API(lto_module_create_in_codegen_context);
    API(lto_codegen_add_module);
    API(lto_module_dispose);
    API(lto_codegen_add_must_preserve_symbol);
    API(lto_codegen_set_pic_model);
    API(lto_codegen_compile);
    lto_code_gen_t cg = p_lto_codegen_create_in_local_context();
    for (int i = 0; i < n; i++) {
        lto_module_t module = p_lto_module_create_in_codegen_context(files[i].data, files[i].size, files[i].path, cg);
        if (!module || p_lto_codegen_add_module(cg, module))
            failed(&files[i]);
        p_lto_module_dispose(module);
    }
    p_lto_codegen_add_must_preserve_symbol(cg, "main");
    p_lto_codegen_set_pic_model(cg, LTO_CODEGEN_PIC_MODEL_DYNAMIC);
    size_t size = 0;
    const void *object = p_lto_codegen_compile(cg, &size);
    if (!object)
        failed(&files[n - 1]);
    FILE *f = fopen(out, "wb");
    if (!f || fwrite(object, 1, size, f) != size || fclose(f)) {
        perror(out);
        exit(2);
    }
    uint64_t hash = 14695981039346656037ull;
    for (size_t i = 0; i < size; i++)
        hash = mix_number(hash, ((const unsigned char *)object)[i]);
    return hash;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: see the head of lto_bench.c\n");
        return 2;
    }
    const char *path = argv[1], *mode = argv[2];

    if (!strcmp(mode, "process")) {
        int runs = atoi(argv[3]);
        double *times = calloc((size_t)runs, sizeof *times);
        for (int i = 0; i < runs; i++) {
            double start = now();
            pid_t child = fork();
            if (child == 0) {
                execl("/proc/self/exe", argv[0], path, "one", argv[4], NULL);
                _exit(127);
            }
            int status = 0;
            waitpid(child, &status, 0);
            times[i] = now() - start;
            if (status) {
                fprintf(stderr, "lto_bench: %s failed on %s\n", path, argv[4]);
                return 1;
            }
        }
        if (!strcmp(path, "-")) {
            printf("%.4f %ld 0\n", median(times, runs), peak_kib(RUSAGE_CHILDREN));
            return 0;
        }
        /* The checksum of this mode is the answer of one more run, in this process. */
        long peak = peak_kib(RUSAGE_CHILDREN);
        File file;
        map_file(argv[4], &file);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "lto_bench: %s\n", dlerror());
            return 2;
        }
        look_up();
        printf("%.4f %ld %016lx\n", median(times, runs), peak, symbols_once(&file, 1, 1));
        return 0;
    }

    if (!strcmp(path, "-"))
        return 0;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "lto_bench: %s\n", dlerror());
        return 2;
    }
    look_up();
    if (!strcmp(mode, "one")) {
        File file;
        map_file(argv[3], &file);
        lto_module_t module = p_create_local(file.data, file.size, file.path);
        if (!module)
            failed(&file);
        /* No dispose: nm does not either. */
        return walk(0, module) == 1;
    }

    int n = 0, rounds = strcmp(mode, "codegen") ? atoi(argv[3]) : 1;
    File *files = calloc((size_t)argc, sizeof *files);
    for (int i = 4; i < argc; i++)
        n += map_file(argv[i], &files[n]);
    if (n == 0 || rounds < 1) {
        fprintf(stderr, "lto_bench: no bitcode among the files\n");
        return 2;
    }
    double *times = calloc((size_t)rounds, sizeof *times);
    uint64_t answer = 0;
    double (*time_now)(void) = strcmp(mode, "codegen") ? processor_time : now;
    /* One round first that is not counted: pages and allocators warm. */
    for (int round = strcmp(mode, "codegen") ? -1 : 0; round < rounds; round++) {
        double start = time_now();
        uint64_t this_answer = !strcmp(mode, "local") ? symbols_once(files, n, 1)
            : !strcmp(mode, "memory")                 ? symbols_once(files, n, 0)
            : !strcmp(mode, "input")                  ? input_once(files, n)
                                                      : codegen_once(files, n, argv[3]);
        if (round >= 0)
            times[round] = time_now() - start;
        if (round > 0 && this_answer != answer) {
            fprintf(stderr, "lto_bench: the answer changed from round to round\n");
            return 1;
        }
        answer = this_answer;
    }
    long peak = peak_kib(RUSAGE_SELF), children = peak_kib(RUSAGE_CHILDREN);
    printf("%.4f %ld %016lx\n", median(times, rounds), peak > children ? peak : children, answer);
    /* Exit without destructors, as linkers do: LLVM's would count against it. */
    fflush(stdout);
    _exit(0);
}
