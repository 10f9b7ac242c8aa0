// SPDX-License-Identifier: Apache-2.0
// SHA-256 through OpenSSL's SHA256_Init, _Update and _Final. libcrypto is opened on first use,
// because linking it would cost every start about a millisecond. The EVP functions, which OpenSSL 3
// prefers, would set up providers and read a configuration first: 0.7 ms in every build that reads.
#include "CKernelsDigest.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

/// As large as SHA256_CTX (openssl/sha.h: 112 bytes), and some.
struct ck_sha256 {
  long long state[32];
};

static struct {
  int (*init)(ck_sha256 *);
  int (*update)(ck_sha256 *, const void *, size_t);
  int (*final)(unsigned char *, ck_sha256 *);
} sha256;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *library = dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_LOCAL);
  if (!library) return;
  sha256.update = (int (*)(ck_sha256 *, const void *, size_t))dlsym(library, "SHA256_Update");
  sha256.final = (int (*)(unsigned char *, ck_sha256 *))dlsym(library, "SHA256_Final");
  if (sha256.update && sha256.final)
    sha256.init = (int (*)(ck_sha256 *))dlsym(library, "SHA256_Init");
}

ck_sha256 *ck_sha256_new(void) {
  pthread_once(&once, load);
  if (!sha256.init) return NULL;
  ck_sha256 *sha = malloc(sizeof *sha);
  if (sha) sha256.init(sha);
  return sha;
}

void ck_sha256_update(ck_sha256 *sha, const void *bytes, size_t count) {
  sha256.update(sha, bytes, count);
}

void ck_sha256_final(ck_sha256 *sha, void *digest) { sha256.final(digest, sha); }

void ck_sha256_free(ck_sha256 *sha) { free(sha); }
