// SPDX-License-Identifier: Apache-2.0
// CSystem: what the Glibc module hides. No policy, no printing.
#ifndef CSYSTEM_H
#define CSYSTEM_H

#include "CSystemEngine.h"
#include "CSystemSpawn.h"
#include "CSystemStart.h"

#endif
