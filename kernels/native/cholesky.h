// Factors of small symmetric positive definite matrices, in double. Internal linkage (see isa.h).
#pragma once
#include <cmath>

namespace kv {

// matrix = L Lᵀ: the lower triangle of [n][n] becomes L. False when a pivot is not positive.
static inline bool choleskyInPlace(double* matrix, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) {
      double rest = matrix[i * n + j];
      for (int c = 0; c < j; c++) rest -= matrix[i * n + c] * matrix[j * n + c];
      if (i > j)
        matrix[i * n + j] = rest / matrix[j * n + j];
      else if (rest > 0)
        matrix[i * n + i] = std::sqrt(rest);
      else
        return false;
    }
  return true;
}

// Solves L y = x for `columns` right-hand sides at once, in place: x [n][columns].
static inline void solveLower(const double* factor, int n, double* x, int columns) {
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < i; j++) {
      const double f = factor[i * n + j];
      for (int c = 0; c < columns; c++) x[i * columns + c] -= f * x[j * columns + c];
    }
    const double f = 1 / factor[i * n + i];
    for (int c = 0; c < columns; c++) x[i * columns + c] *= f;
  }
}

}  // namespace kv
