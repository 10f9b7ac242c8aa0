#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a verified bundle: installs what is missing, builds quench, unpacks the
# images, builds Examples/quickstart and checks the result. Run again, it has nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Tests/setup.sh dataset-fashion-mnist
swift build -c release --static-swift-stdlib --disable-local-rpath --product quench
export PATH="$PWD/.build/release:$PATH"

cd Examples/quickstart
python3 unpack.py images
quench build
quench verify build/release.tar.zst
