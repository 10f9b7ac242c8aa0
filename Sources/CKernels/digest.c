// SPDX-License-Identifier: Apache-2.0
// SHA-256 through OpenSSL's EVP functions. libcrypto is opened on first use, because linking it
// would cost every start about a millisecond.
#include "CKernelsDigest.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static struct {
  void *(*md_ctx_new)(void);
  void (*md_ctx_free)(void *);
  int (*digest_init)(void *, const void *, void *);
  int (*digest_update)(void *, const void *, size_t);
  int (*digest_final)(void *, unsigned char *, unsigned int *);
  const void *sha256;
} evp;

static pthread_once_t evp_once = PTHREAD_ONCE_INIT;

static void evp_load(void) {
  void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  const void *(*evp_sha256)(void) = (const void *(*)(void))dlsym(library, "EVP_sha256");
  evp.md_ctx_new = (void *(*)(void))dlsym(library, "EVP_MD_CTX_new");
  evp.md_ctx_free = (void (*)(void *))dlsym(library, "EVP_MD_CTX_free");
  evp.digest_init =
      (int (*)(void *, const void *, void *))dlsym(library, "EVP_DigestInit_ex");
  evp.digest_update = (int (*)(void *, const void *, size_t))dlsym(library, "EVP_DigestUpdate");
  evp.digest_final =
      (int (*)(void *, unsigned char *, unsigned int *))dlsym(library, "EVP_DigestFinal_ex");
  if (evp_sha256 && evp.md_ctx_new && evp.md_ctx_free && evp.digest_init && evp.digest_update &&
      evp.digest_final)
    evp.sha256 = evp_sha256();
}

ck_sha256 *ck_sha256_new(void) {
  pthread_once(&evp_once, evp_load);
  if (!evp.sha256) return NULL;
  void *context = evp.md_ctx_new();
  if (context && evp.digest_init(context, evp.sha256, NULL) != 1) {
    evp.md_ctx_free(context);
    context = NULL;
  }
  return context;
}

void ck_sha256_update(ck_sha256 *sha, const void *bytes, size_t count) {
  evp.digest_update(sha, bytes, count);
}

void ck_sha256_final(ck_sha256 *sha, void *digest) { evp.digest_final(sha, digest, NULL); }

void ck_sha256_free(ck_sha256 *sha) { evp.md_ctx_free(sha); }
