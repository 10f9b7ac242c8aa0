#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gets what Quench needs and what is missing: Debian packages (as root; else says which), and the
# ONNX Runtime library into .quench-deps/. Harmless to run again.
#
#   bash Tests/setup.sh [further Debian packages]
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 69
}

# Swift is not in Debian: it can only be checked.
check_swift() {
  command -v swift >/dev/null || fail "Swift was not found" \
    "Quench needs Swift 6.2 or later: install the toolchain for your system from swift.org" \
    "and put its usr/bin directory into PATH"
  local version
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  read -r major minor <<<"${version:-0 0}"
  if ((major < 6 || (major == 6 && minor < 2))); then
    fail "Swift ${major}.${minor} is too old: Quench needs 6.2 or later (swift.org)"
  fi
}

packages=(libarchive-dev libzstd-dev libjpeg62-turbo-dev libpng-dev zlib1g-dev libssl-dev libxxhash-dev
  pkg-config
  libc6-dev libstdc++-12-dev python3 "$@")

install_packages() {
  local missing=() name
  for name in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  # A Python with pip from elsewhere serves as well as Debian's.
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    fail "these Debian packages are missing: ${missing[*]}" \
      "install them as root: apt-get install ${missing[*]}"
  fi
  printf 'setup: installing %s\n' "${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

# ONNX Runtime 1.28.0: later wheels carry a telemetry uploader.
get_onnxruntime() {
  local version=1.28.0 platform wheel_digest library_digest
  case $(uname -m) in
    x86_64)
      platform=x86_64
      wheel_digest=a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5
      library_digest=aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083
      ;;
    aarch64)
      platform=aarch64
      wheel_digest=8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f
      library_digest=23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d
      ;;
    *) fail "ONNX Runtime has no library for $(uname -m): set QUENCH_ONNXRUNTIME to one of your own" ;;
  esac
  if [[ -n ${QUENCH_ONNXRUNTIME:-} ]]; then
    [[ -f $QUENCH_ONNXRUNTIME ]] || fail "QUENCH_ONNXRUNTIME names no file: $QUENCH_ONNXRUNTIME"
    return 0
  fi
  local library=.quench-deps/libonnxruntime.so.$version
  if [[ -f $library ]] && sha256sum --status -c <<<"$library_digest  $library"; then return 0; fi

  printf 'setup: getting ONNX Runtime %s\n' "$version"
  mkdir -p .quench-deps
  local work
  work=$(mktemp -d .quench-deps/download-XXXXXX)
  trap 'rm -rf "$work"' RETURN
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 \
    --platform "manylinux_2_27_$platform" --platform "manylinux_2_28_$platform" \
    "onnxruntime==$version" -d "$work" || fail "pip could not get onnxruntime $version"
  local wheel=("$work"/*.whl)
  sha256sum --status -c <<<"$wheel_digest  ${wheel[0]}" ||
    fail "the onnxruntime wheel has not the digest that it should have; nothing was installed"
  python3 -m zipfile -e "${wheel[0]}" "$work/wheel"
  local found="$work/wheel/onnxruntime/capi/libonnxruntime.so.$version"
  sha256sum --status -c <<<"$library_digest  $found" ||
    fail "the library in the wheel has not the digest that it should have"
  cp "$work/wheel/onnxruntime/LICENSE" .quench-deps/onnxruntime-LICENSE
  cp "$work/wheel/onnxruntime/ThirdPartyNotices.txt" .quench-deps/onnxruntime-ThirdPartyNotices.txt
  mv -f "$found" "$library"
}

check_swift
install_packages
get_onnxruntime
