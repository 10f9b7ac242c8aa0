// SPDX-License-Identifier: Apache-2.0
#ifndef CONNXRUNTIME_H
#define CONNXRUNTIME_H

#endif
