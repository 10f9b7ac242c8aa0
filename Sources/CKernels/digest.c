// SPDX-License-Identifier: Apache-2.0
// SHA-256: the beginning of each content here, the rest of large ones through OpenSSL.
//
// OpenSSL's is the faster one where the processor has no SHA extensions, but to open libcrypto costs
// 0.6 ms and more, as much as a build with one changed source may spend on all that is not looking at
// files and running commands. So it is opened for large contents only, by its SHA256_Update and
// SHA256_Final. (The EVP functions, which OpenSSL 3 prefers, would set up providers and read a
// configuration first.)
#define OPENSSL_SUPPRESS_DEPRECATED
#include "CKernelsDigest.h"

#include <dlfcn.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>


enum { block = 64, most_own = 1 << 16 };

struct ck_sha256 {
  uint32_t state[8];
  uint64_t count;
  /// `count % 64` bytes that do not fill a block yet.
  unsigned char rest[block];
  /// The library has taken over.
  int is_lent;
  SHA256_CTX lent;
};

static struct {
  int (*update)(SHA256_CTX *, const void *, size_t);
  int (*final)(unsigned char *, SHA256_CTX *);
} library;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *handle = dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_LOCAL);
  if (!handle) return;
  library.final = (int (*)(unsigned char *, SHA256_CTX *))dlsym(handle, "SHA256_Final");
  if (library.final)
    library.update = (int (*)(SHA256_CTX *, const void *, size_t))dlsym(handle, "SHA256_Update");
}

int ck_sha256_has_library(void) {
  pthread_once(&once, load);
  return library.update != NULL;
}

ck_sha256 *ck_sha256_new(void) {
  // FIPS 180-4, 5.3.3.
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  ck_sha256 *sha = malloc(sizeof *sha);
  if (!sha) return NULL;
  memcpy(sha->state, start, sizeof start);
  sha->count = 0;
  sha->is_lent = 0;
  return sha;
}

/// Hands what was digested so far to the library, where there is one.
static int lend(ck_sha256 *sha) {
  if (!ck_sha256_has_library()) return 0;
  memset(&sha->lent, 0, sizeof sha->lent);
  for (int i = 0; i < 8; i++) sha->lent.h[i] = sha->state[i];
  sha->lent.Nl = (SHA_LONG)(sha->count << 3);
  sha->lent.Nh = (SHA_LONG)(sha->count >> 29);
  sha->lent.num = sha->count % block;
  memcpy(sha->lent.data, sha->rest, sha->lent.num);
  sha->lent.md_len = SHA256_DIGEST_LENGTH;
  sha->is_lent = 1;
  return 1;
}

void ck_sha256_update(ck_sha256 *sha, const void *data, size_t count) {
  if (!sha->is_lent && (sha->count + count <= most_own || !lend(sha))) {
    const unsigned char *bytes = data;
    size_t held = sha->count % block;
    sha->count += count;
    if (held > 0) {
      size_t more = count < block - held ? count : block - held;
      memcpy(sha->rest + held, bytes, more);
      bytes += more, count -= more;
      if (held + more < block) return;
      ck_sha256_own(sha->state, sha->rest, 1);
    }
    ck_sha256_own(sha->state, bytes, count / block);
    memcpy(sha->rest, bytes + count / block * block, count % block);
    return;
  }
  library.update(&sha->lent, data, count);
}

void ck_sha256_final(ck_sha256 *sha, void *digest) {
  if (sha->is_lent) {
    library.final(digest, &sha->lent);
    return;
  }
  // FIPS 180-4, 5.1.1: a bit, zeros, and the length in bits.
  unsigned char end[2 * block] = {0};
  size_t held = sha->count % block, blocks = held < block - 8 ? 1 : 2;
  memcpy(end, sha->rest, held);
  end[held] = 0x80;
  for (int i = 0; i < 8; i++)
    end[blocks * block - 1 - i] = (unsigned char)(sha->count << 3 >> 8 * i);
  ck_sha256_own(sha->state, end, blocks);
  for (int i = 0; i < 32; i++)
    ((unsigned char *)digest)[i] = (unsigned char)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}

void ck_sha256_free(ck_sha256 *sha) { free(sha); }
