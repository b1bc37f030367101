/* SipHash-2-4 (Aumasson, Bernstein 2012): 64 and 128 bits. Ids of servers, services and checks use
 * the zero key, so that they are the same everywhere and after a restart; tables that clients can
 * fill use a secret key. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key { uint64_t k0, k1; };
struct hash_128 { uint64_t lo, hi; };

uint64_t hash_64(const struct hash_key *key, const void *bytes, size_t len);
struct hash_128 hash_128(const struct hash_key *key, const void *bytes, size_t len);
/* Zero key; the parts are joined with a NUL between them. Never 0. The list ends with NULL. */
uint64_t hash_id(const char *part, ...) __attribute__((sentinel));
/* SplitMix64: a small, fast generator for draws (not for secrets). */
uint64_t hash_random(uint64_t *state);

#endif
