#pragma once
#include "observed-row.h"

namespace kv {

// Of the attention that a window's queries pay to each token before it: mean and unbiased variance,
// [eligible] each; one query has no variance.
void varianceOverQueries(const ObservedRow& row, const float* weights, float* means,
                         float* variances);

// −Σ a ln(a + 1e-10), and the variance over queries summed over tokens, both over all query heads of
// each layer of each sequence: [numSequences × numLayers].
void attentionSpread(const WindowCall& call, float* dispersion, float* shift,
                     const ParallelFor& parallelFor);

}  // namespace kv
