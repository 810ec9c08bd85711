#!/usr/bin/env bash
# Builds the guests of guest-examples/ and makes components of them: target/guests/components/NAME.wasm. Those in Python and JavaScript,
# which take seconds each, are built again when their sources have changed.
#
# The Rust ones have the names of their crates, those of another language its name behind: examples_go.wasm.
#
#   scripts/build-guests.sh [LANGUAGE...]     rust, go, c, python, js; all of them without one
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

languages="${*:-rust go c python js}"
wanted() { [[ " $languages " == *" $1 "* ]]; }

parts=(wasm)
if wanted c || wanted python || wanted js; then parts+=(python); fi
if wanted js; then parts+=(js); fi
scripts/setup.sh "${parts[@]}"
mkdir -p "$components" "$guests/digests"

build_rust() {
  # What the guests are built with, if it is not rustup's target: Debian's Rust and the standard library from its source.
  local flags=()
  if [ -e "$wasm_debian" ] && [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
    export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
    flags=(-Zbuild-std=std,panic_abort)
  fi
  # inlined as `thalweg udf build` does it
  flags+=(--config "target.wasm32-unknown-unknown.rustflags=['-Cllvm-args=--inline-threshold=2000']")
  (cd guest-examples && cargo build --release --locked --target wasm32-unknown-unknown --target-dir "$guests" "${flags[@]}")
  unset RUSTC_BOOTSTRAP RUSTC
  componentize "$guests"/wasm32-unknown-unknown/release/*.wasm guest-examples/evil/wat/*.wat
}

# A language whose tools are not here is left out and said to be; the tests of its guests fail then, and name this script.
build_go() {
  if ! command -v go > /dev/null; then
    say "Go is missing, and the guests in Go are not built: install Go 1.26 or newer from https://go.dev/dl and put it on the PATH." >&2
    return
  fi
  local package
  # without the paths of this machine; the name section stays, so that a trap names functions
  for package in bench conformance examples machine runtime; do
    (cd guest-examples/go && GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared \
      -o "$guests/go/${package/#bench/bench_udfs}_go.wasm" "./$package")
  done
  componentize "$guests"/go/*.wasm
}

build_c() {
  mkdir -p "$guests/c"
  ZIG_GLOBAL_CACHE_DIR=$guests/zig "$python" -m ziglang cc -target wasm32-freestanding -O2 -g1 -Wall -Wextra -Werror -fno-builtin \
    -nostdlib -Wl,--no-entry -o "$guests/c/examples_c.wasm" guest-examples/c/words.c
  componentize "$guests/c/examples_c.wasm"
}

componentize() {
  cargo run --quiet -p thalweg-wasm --example componentize -- "$components" "$@"
}

# component NAME SOURCES COMMAND...: builds a component with the command, which gets the file's name as its last word, unless it was built
# of the same sources before. The sources are files and folders.
component() {
  local name=$1 sources=$2 digest
  shift 2
  # shellcheck disable=SC2086
  digest=$(find $sources -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
  if [ -e "$components/$name.wasm" ] && [ "$(cat "$guests/digests/$name" 2> /dev/null)" = "$digest" ]; then return; fi
  say "Building $name"
  "$@" "$components/$name.new"
  mv "$components/$name.new" "$components/$name.wasm"
  echo "$digest" > "$guests/digests/$name"
}

componentize_py() {
  "$root/.venv/bin/componentize-py" -q -d wit -d guest-sdk/python/wit -w thalweg:machine/full componentize "$1" -p guest-examples/python -p guest-sdk/python -o "$2"
}

componentize_js() {
  "$(node_home)/node" guest-sdk/js/build.js "$1" -o "$2"
}

if wanted rust; then build_rust; fi
if wanted go; then build_go; fi
if wanted c; then build_c; fi
for guest in conformance examples machine bench; do
  if wanted python; then
    component "${guest/bench/bench_udfs}_python" "wit scripts/requirements.txt guest-sdk/python/thalweg_udf guest-sdk/python/wit guest-examples/python/$guest" \
      componentize_py "$guest"
  fi
  if wanted js; then
    component "${guest/bench/bench_udfs}_js" "wit guest-sdk/js/package-lock.json guest-sdk/js/build.js guest-sdk/js/src guest-examples/js/$guest" \
      componentize_js "guest-examples/js/$guest/index.js"
  fi
done
