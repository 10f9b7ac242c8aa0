// SPDX-License-Identifier: Apache-2.0
#ifndef CSYSTEM_H
#define CSYSTEM_H

#include "CSystemSpawn.h"

#endif
