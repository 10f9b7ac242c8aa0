#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds both networks, where their data is.
set -euo pipefail
cd "$(dirname "$0")"

if [[ ! -f ../../../shared/data/labels.csv ]]; then
  echo "imagenet: skipped: the networks and pictures (shared/data beside the repository) are not here"
  exit 0
fi
PATH="$PWD/../../.build/release:$PATH"
command -v quench >/dev/null || {
  echo "imagenet: build quench first: swift build -c release --static-swift-stdlib --disable-local-rpath --product quench" >&2
  exit 69
}
exec quench build "$@"
