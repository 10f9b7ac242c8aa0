// SPDX-License-Identifier: Apache-2.0
#ifndef CKERNELS_CHECKSUM_H
#define CKERNELS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// CRC-32 with the reflected polynomial 0xEDB88320 (IEEE 802.3, the one of zlib and PNG).
/// Start with `crc` 0; pass the last result on to continue.
uint32_t ck_crc32(uint32_t crc, const void *_Nullable bytes, size_t count);

#pragma clang assume_nonnull end
#endif
