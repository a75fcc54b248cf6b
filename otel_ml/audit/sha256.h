/* SHA-256 (FIPS 180-4) without the interpreter's lock: with the processor's own instructions where it has them. */
#ifndef OTEL_ML_SHA256_H
#define OTEL_ML_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define OTEL_ML_SHA_NI 1
#include <immintrin.h>
#include <cpuid.h>
#endif

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define SHA256_ROTATED(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

static inline uint32_t sha256_word(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void sha256_blocks_portable(uint32_t state[8], const unsigned char *data, size_t blocks) {
    for (; blocks; blocks--, data += 64) {
        uint32_t w[64], s[8];
        for (int t = 0; t < 16; t++) w[t] = sha256_word(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t a = w[t - 15], b = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (SHA256_ROTATED(a, 7) ^ SHA256_ROTATED(a, 18) ^ (a >> 3)) +
                   (SHA256_ROTATED(b, 17) ^ SHA256_ROTATED(b, 19) ^ (b >> 10));
        }
        memcpy(s, state, sizeof s);
        for (int t = 0; t < 64; t += 8) {
#define SHA256_ROUND(r, a, b, c, d, e, f, g, h)                                                                  \
    s[h] += (SHA256_ROTATED(s[e], 6) ^ SHA256_ROTATED(s[e], 11) ^ SHA256_ROTATED(s[e], 25)) +                     \
            (s[g] ^ (s[e] & (s[f] ^ s[g]))) + sha256_k[t + r] + w[t + r];                                         \
    s[d] += s[h];                                                                                                 \
    s[h] += (SHA256_ROTATED(s[a], 2) ^ SHA256_ROTATED(s[a], 13) ^ SHA256_ROTATED(s[a], 22)) +                     \
            ((s[a] & s[b]) | (s[c] & (s[a] | s[b])))
            SHA256_ROUND(0, 0, 1, 2, 3, 4, 5, 6, 7);
            SHA256_ROUND(1, 7, 0, 1, 2, 3, 4, 5, 6);
            SHA256_ROUND(2, 6, 7, 0, 1, 2, 3, 4, 5);
            SHA256_ROUND(3, 5, 6, 7, 0, 1, 2, 3, 4);
            SHA256_ROUND(4, 4, 5, 6, 7, 0, 1, 2, 3);
            SHA256_ROUND(5, 3, 4, 5, 6, 7, 0, 1, 2);
            SHA256_ROUND(6, 2, 3, 4, 5, 6, 7, 0, 1);
            SHA256_ROUND(7, 1, 2, 3, 4, 5, 6, 7, 0);
#undef SHA256_ROUND
        }
        for (int i = 0; i < 8; i++) state[i] += s[i];
    }
}

#ifdef OTEL_ML_SHA_NI
#define SHA256_TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* Blocks of one message, or of two that have nothing to do with each other: the second one costs little more, for each
   instruction waits for the one before it. Two registers hold the eight words of a message's state, in the order that
   `sha256rnds2` wants: ABEF and CDGH. */
SHA256_TARGET __attribute__((always_inline)) static inline void sha256_lanes(
    const int lanes, uint32_t *const state[], const unsigned char *const data[], size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i abef[2], cdgh[2], abef_before[2], cdgh_before[2], w[2][4];
    for (int n = 0; n < lanes; n++) {
        const __m128i dcba = _mm_loadu_si128((const __m128i *)state[n]);
        const __m128i hgfe = _mm_loadu_si128((const __m128i *)(state[n] + 4));
        const __m128i badc = _mm_shuffle_epi32(dcba, 0xB1), efgh = _mm_shuffle_epi32(hgfe, 0x1B);
        abef[n] = _mm_alignr_epi8(badc, efgh, 8), cdgh[n] = _mm_blend_epi16(efgh, badc, 0xF0);
    }
    for (size_t block = 0; block < blocks; block++) {
#pragma GCC unroll 2
        for (int n = 0; n < lanes; n++) {
            const unsigned char *from = data[n] + 64 * block;
            abef_before[n] = abef[n], cdgh_before[n] = cdgh[n];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                w[n][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from + 16 * i)), swap);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m128i k = _mm_loadu_si128((const __m128i *)(sha256_k + 4 * i));
#pragma GCC unroll 2
            for (int n = 0; n < lanes; n++) {
                const __m128i now = w[n][i & 3], next = w[n][(i + 1) & 3], later = w[n][(i + 2) & 3];
                const __m128i last = w[n][(i + 3) & 3], sum = _mm_add_epi32(now, k);
                cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], sum);
                abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32(sum, 0x0E));
                if (i < 12)
                    w[n][i & 3] = _mm_sha256msg2_epu32(
                        _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(last, later, 4)), last);
            }
        }
#pragma GCC unroll 2
        for (int n = 0; n < lanes; n++) {
            abef[n] = _mm_add_epi32(abef[n], abef_before[n]);
            cdgh[n] = _mm_add_epi32(cdgh[n], cdgh_before[n]);
        }
    }
    for (int n = 0; n < lanes; n++) {
        const __m128i feba = _mm_shuffle_epi32(abef[n], 0x1B), dchg = _mm_shuffle_epi32(cdgh[n], 0xB1);
        _mm_storeu_si128((__m128i *)state[n], _mm_blend_epi16(feba, dchg, 0xF0));
        _mm_storeu_si128((__m128i *)(state[n] + 4), _mm_alignr_epi8(dchg, feba, 8));
    }
}

SHA256_TARGET static void sha256_blocks_fast(uint32_t *state, const unsigned char *data, size_t blocks) {
    sha256_lanes(1, &state, &data, blocks);
}

SHA256_TARGET static void sha256_blocks_of_two(uint32_t *const state[2], const unsigned char *const data[2],
                                               size_t blocks) {
    sha256_lanes(2, state, data, blocks);
}

static int sha256_is_fast(void) {
    static int known = -1;
    unsigned a, b, c, d;
    if (known < 0) known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) && __builtin_cpu_supports("sse4.1");
    return known;
}
#endif

static void sha256_blocks(uint32_t state[8], const unsigned char *data, size_t blocks, int portable) {
#ifdef OTEL_ML_SHA_NI
    if (!portable && sha256_is_fast()) {
        sha256_blocks_fast(state, data, blocks);
        return;
    }
#endif
    (void)portable;
    sha256_blocks_portable(state, data, blocks);
}

/* A message whose whole blocks are hashed first, by itself or beside another one; what is left of it comes at the end. */
typedef struct {
    uint32_t state[8];
    const unsigned char *data;
    size_t size;
} sha256_begun;

static void sha256_begin(sha256_begun *message, const unsigned char *data, size_t size) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(message->state, start, sizeof start);
    message->data = data;
    message->size = size;
}

static void sha256_one(sha256_begun *message, size_t done, int portable) {
    sha256_blocks(message->state, message->data + 64 * done, message->size / 64 - done, portable);
}

static void sha256_both(sha256_begun *one, sha256_begun *other, int portable) {
    size_t common = 0;
#ifdef OTEL_ML_SHA_NI
    if (!portable && sha256_is_fast()) {
        uint32_t *const states[2] = {one->state, other->state};
        const unsigned char *const data[2] = {one->data, other->data};
        common = (one->size < other->size ? one->size : other->size) / 64;
        sha256_blocks_of_two(states, data, common);
    }
#endif
    sha256_one(one, common, portable);
    sha256_one(other, common, portable);
}

/* The digest of a message that 32 more bytes follow on. */
static void sha256_end(sha256_begun *message, const unsigned char after[32], unsigned char digest[32], int portable) {
    unsigned char block[128] = {0};
    const uint64_t bits = ((uint64_t)message->size + 32) * 8;
    const size_t rest = message->size % 64, end = rest + 32 < 56 ? 64 : 128;
    memcpy(block, message->data + message->size - rest, rest);
    memcpy(block + rest, after, 32);
    block[rest + 32] = 0x80;
    for (int i = 0; i < 8; i++) block[end - 1 - i] = (unsigned char)(bits >> (8 * i));
    sha256_blocks(message->state, block, end / 64, portable);
    for (int i = 0; i < 32; i++) digest[i] = (unsigned char)(message->state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
