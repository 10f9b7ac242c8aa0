#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the Swift code of the .proto files again. Run from anywhere after changing one.
#
# Needs protoc (Debian: protobuf-compiler). protoc-gen-swift is taken from PROTOC_GEN_SWIFT, or
# built from the swift-protobuf version that Package.swift pins.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
plugin=${PROTOC_GEN_SWIFT:-}
if [ -z "$plugin" ]; then
  version=$(sed -n 's|.*apple/swift-protobuf", exact: "\([^"]*\)".*|\1|p' "$root/Package.swift")
  space=$(mktemp -d)
  trap 'rm -rf "$space"' EXIT
  git clone --quiet --depth 1 --branch "$version" https://github.com/apple/swift-protobuf "$space"
  swift build --package-path "$space" --product protoc-gen-swift
  plugin="$space/.build/debug/protoc-gen-swift"
fi

# generate PROTO DIRECTORY: the code goes to DIRECTORY/<name>.pb.swift, with our header lines.
generate() {
  local output
  output="$root/$2/$(basename "$1" .proto).pb.swift"
  mkdir -p "$root/$2"
  protoc --plugin=protoc-gen-swift="$plugin" --proto_path="$here" \
    --swift_opt=Visibility=Internal --swift_out="$root/$2" "$here/$1"
  { printf '// SPDX-License-Identifier: Apache-2.0\n'
    grep -q '^// swift-format-ignore-file' "$output" || printf '// swift-format-ignore-file\n'
    cat "$output"
  } >"$output.new"
  mv "$output.new" "$output"
}

generate onnx.proto Sources/ONNXModel/Generated
