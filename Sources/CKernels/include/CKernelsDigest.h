// SPDX-License-Identifier: Apache-2.0
#ifndef CKERNELS_DIGEST_H
#define CKERNELS_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// A SHA-256 in progress. Owned by the caller of `ck_sha256_new`.
typedef struct ck_sha256 ck_sha256;

/// Whether libcrypto.so.3 takes part; loads it. Without it, large contents are digested more slowly on
/// processors that have no SHA extensions.
int ck_sha256_has_library(void);

/// Starts a digest. NULL when memory is short.
ck_sha256 *_Nullable ck_sha256_new(void);
void ck_sha256_update(ck_sha256 *sha, const void *bytes, size_t count);
/// Writes 32 bytes. The digest may not be updated afterwards.
void ck_sha256_final(ck_sha256 *sha, void *_Nullable digest);
void ck_sha256_free(ck_sha256 *sha);

/// Works whole blocks of 64 bytes into the eight words of a digest (FIPS 180-4, 6.2.2).
typedef void ck_sha256_blocks(uint32_t *state, const unsigned char *bytes, size_t blocks);
/// In C.
ck_sha256_blocks ck_sha256_plain;
/// The fastest that this processor has.
void ck_sha256_own(uint32_t *state, const unsigned char *bytes, size_t blocks);

#pragma clang assume_nonnull end
#endif
