// A test is a function that calls expect; main prints and counts failures.
#pragma once
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

inline int& failures() {
  static int count = 0;
  return count;
}

inline void expect(bool condition, const std::string& what) {
  if (condition) return;
  failures()++;
  std::printf("FAILED %s\n", what.c_str());
}

// |actual − expected| ≤ tolerance · (1 + |expected|) everywhere.
template <class A, class E>
void expectClose(const A& actual, const E& expected, double tolerance, const std::string& what) {
  if (actual.size() != expected.size())
    return expect(false, what + ": " + std::to_string(actual.size()) + " numbers, expected " +
                             std::to_string(expected.size()));
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    const double e = expected[i];
    const double error = std::fabs(actual[i] - e) / (1 + std::fabs(e));
    if (!(error <= worst)) worst = error, at = i;
    if (std::isnan(error)) break;
  }
  expect(worst <= tolerance, what + ": error " + std::to_string(worst) + " at " +
                                 std::to_string(at) + ", got " + std::to_string(actual[at]) +
                                 ", expected " + std::to_string(double(expected[at])));
}

// The tests of the other files; those that take a name run for every instruction set.
void testSelection();
void testPagedAttention(const std::string& isa);
void testWindowScore(const std::string& isa);
void testNearestKept(const std::string& isa);
void testQueryAttention(const std::string& isa);
void testKeyRedundancy(const std::string& isa);
