// SPDX-License-Identifier: Apache-2.0
#ifndef CARCHIVE_H
#define CARCHIVE_H

#endif
