/* md4.h: MD4 (RFC 1320), which NTLM hashes passwords with, and which OpenSSL has only where its legacy
 * provider is installed. */
#ifndef LAB_MD4_H
#define LAB_MD4_H

#include <stddef.h>
#include <stdint.h>

void md4(const void *bytes, size_t len, uint8_t digest[static 16]);

#endif
