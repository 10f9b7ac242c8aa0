// SPDX-License-Identifier: Apache-2.0
// All kernels of one build. The including file defines T (the element), I (an integer as wide),
// VB (bytes of a vector), MR (rows of a tile, at most 12), MAGIC, SQRT, TABLE and TABLE_NAME, and
// sets the instruction set.

// No product is fused with a sum unless the code says so, on any CPU.
#pragma clang fp contract(off)

#include <math.h>
#include <string.h>

#include "train_gemm.h"
#include "train_conv.h"
#include "train_gradient.h"
#include "train_product.h"
#include "train_depthwise.h"
#include "train_weights.h"
#include "train_elementwise.h"
#include "train_windows.h"

const ck_train_kernels TABLE = {
    .name = TABLE_NAME,
    .element_size = sizeof(T),
    .lanes = L,
    .packed_count = packed_count,
    .weights_pack_forward = weights_pack_forward,
    .weights_pack_input = weights_pack_input,
    .weights_pack_depthwise = weights_pack_depthwise,
    .weights_gradient = weights_gradient,
    .conv_forward = conv_forward,
    .conv_input = conv_input,
    .conv_weights = conv_weights,
    .depthwise_forward = depthwise_forward,
    .depthwise_input = depthwise_input,
    .depthwise_weights = depthwise_weights,
    .matmul = matmul,
    .quantizer_backward = quantizer_backward,
    .quantizer_forward = quantizer_forward,
    .unary_forward = unary_forward,
    .unary_backward = unary_backward,
    .binary = binary,
    .copy = copy,
    .add = add,
    .sum = sum,
    .spread = spread,
    .max_pool_forward = max_pool_forward,
    .max_pool_backward = max_pool_backward,
    .average_pool_forward = average_pool_forward,
    .average_pool_backward = average_pool_backward,
    .softmax_forward = softmax_forward,
    .softmax_backward = softmax_backward,
    .normalize_forward = normalize_forward,
    .normalize_backward = normalize_backward,
    .taps_forward = taps_forward,
    .taps_backward = taps_backward,
};
