/* Compresses made-up text at several levels, with and without a dictionary and in a stream, expands
 * it again and compares. Prints the sizes, which are the same for every correct build. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "zdict.h"
#include "zstd.h"

static unsigned long long state = 88172645463325252ull;
static unsigned next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 32);
}

static void fail(const char *what) {
    fprintf(stderr, "zstd: %s\n", what);
    exit(1);
}

static size_t checked(size_t code) {
    if (ZSTD_isError(code))
        fail(ZSTD_getErrorName(code));
    return code;
}

int main(void) {
    static const char *const words[] = {"link", "time", "optimisation", "symbol ", "module", "\n", "prevailing", "of ", "the "};
    size_t const size = 1 << 20;
    char *text = malloc(size), *back = malloc(size);
    size_t const bound = ZSTD_compressBound(size);
    char *packed = malloc(bound);
    if (!text || !back || !packed)
        fail("out of memory");
    for (size_t at = 0; at < size;) {
        const char *word = words[next_random() % (sizeof words / sizeof *words)];
        size_t n = strlen(word) < size - at ? strlen(word) : size - at;
        memcpy(text + at, word, n);
        at += n;
        if (next_random() % 16 == 0 && at < size)
            text[at++] = (char)next_random();
    }

    static const int levels[] = {-5, 1, 3, 7, 12, 19};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        size_t n = checked(ZSTD_compress(packed, bound, text, size, levels[i]));
        memset(back, 0, size);
        if (checked(ZSTD_decompress(back, size, packed, n)) != size || memcmp(text, back, size))
            fail("the text came back changed");
        printf("level %d: %zu\n", levels[i], n);
    }

    size_t samples[64];
    for (size_t i = 0; i < 64; i++)
        samples[i] = 1024;
    static char dictionary[4096];
    size_t trained = ZDICT_trainFromBuffer(dictionary, sizeof dictionary, text, samples, 64);
    if (ZDICT_isError(trained))
        fail(ZDICT_getErrorName(trained));
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    ZSTD_DCtx *dctx = ZSTD_createDCtx();
    size_t n = checked(ZSTD_compress_usingDict(cctx, packed, bound, text + 70000, 2000, dictionary, trained, 5));
    if (checked(ZSTD_decompress_usingDict(dctx, back, size, packed, n, dictionary, trained)) != 2000 ||
        memcmp(text + 70000, back, 2000))
        fail("the text came back changed through the dictionary");
    printf("dictionary %zu: %zu\n", trained, n);

    checked(ZSTD_CCtx_reset(cctx, ZSTD_reset_session_only));
    checked(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1));
    checked(ZSTD_CCtx_setParameter(cctx, ZSTD_c_enableLongDistanceMatching, 1));
    ZSTD_outBuffer out = {packed, bound, 0};
    for (size_t at = 0; at < size; at += 65536) {
        ZSTD_inBuffer in = {text + at, 65536, 0};
        ZSTD_EndDirective end = at + 65536 == size ? ZSTD_e_end : ZSTD_e_continue;
        while (checked(ZSTD_compressStream2(cctx, &out, &in, end)) != 0 || in.pos < in.size)
            if (end == ZSTD_e_continue && in.pos == in.size)
                break;
    }
    packed[out.pos / 2] ^= 64;
    if (!ZSTD_isError(ZSTD_decompress(back, size, packed, out.pos)))
        fail("a damaged frame was accepted");
    packed[out.pos / 2] ^= 64;
    if (checked(ZSTD_decompress(back, size, packed, out.pos)) != size || memcmp(text, back, size))
        fail("the text came back changed through the stream");
    printf("stream: %zu\n", out.pos);
    ZSTD_freeCCtx(cctx);
    ZSTD_freeDCtx(dctx);
    printf("zstd %s ok\n", ZSTD_versionString());
    return 0;
}
