// SPDX-License-Identifier: Apache-2.0
// What the processor can do, as the C library found out at the start of the process.
//
// The compiler's own `__builtin_cpu_supports` brings a constructor that asks the processor again in
// every process, a tenth of a millisecond in a virtual machine.
#ifndef CK_CPU_H
#define CK_CPU_H

#if defined(__x86_64__)
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
/// Whether a feature is there and may be used: its name to glibc (2.33 on), and to the compiler.
#define CK_CPU_HAS(glibc, compiler) CPU_FEATURE_ACTIVE(glibc)
#else
#define CK_CPU_HAS(glibc, compiler) __builtin_cpu_supports(compiler)
#endif
#endif

#endif
