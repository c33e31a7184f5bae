// What most unit tests include, compiled once for each set of flags (Makefile): a second less for each of them. A test
// includes what it needs all the same, and compiles without this.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>
