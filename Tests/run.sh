#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, checks the format and runs all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# Ninja, CMake and the archive tools stand beside us in tests.
bash Tests/setup.sh ninja-build cmake make zstd libarchive-tools

swift format lint --strict --recursive Package.swift Sources Tests
swift build --product quench
swift test "$@"
