// SPDX-License-Identifier: Apache-2.0
#ifndef CKERNELS_DIGEST_H
#define CKERNELS_DIGEST_H

#include <stddef.h>

#pragma clang assume_nonnull begin

/// A SHA-256 in progress. Owned by the caller of `ck_sha256_new`.
typedef struct ck_sha256 ck_sha256;

/// Starts a digest. NULL when libcrypto.so.3 cannot be loaded or memory is short.
ck_sha256 *_Nullable ck_sha256_new(void);
void ck_sha256_update(ck_sha256 *sha, const void *bytes, size_t count);
/// Writes 32 bytes. The digest may not be updated afterwards.
void ck_sha256_final(ck_sha256 *sha, void *_Nullable digest);
void ck_sha256_free(ck_sha256 *sha);

#pragma clang assume_nonnull end
#endif
