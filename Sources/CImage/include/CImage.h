// SPDX-License-Identifier: Apache-2.0
#ifndef CIMAGE_H
#define CIMAGE_H

#endif
