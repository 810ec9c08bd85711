#!/usr/bin/env bash
# Builds the guests of guest-examples/ and makes components of them: target/guests/components/NAME.wasm. The Rust ones have the
# names of their crates, those of another language its name behind: examples_go.wasm.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh wasm
# What the guests are built with, if it is not rustup's target: Debian's Rust and the standard library from its source.
flags=()
if [ -e "$wasm_debian" ] && [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
  export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
  flags=(-Zbuild-std=std,panic_abort)
fi
(cd guest-examples && cargo build --release --locked --target wasm32-unknown-unknown --target-dir "$guests" "${flags[@]}")
unset RUSTC_BOOTSTRAP RUSTC
modules=("$guests"/wasm32-unknown-unknown/release/*.wasm)

# A language whose tools are not here is left out and said to be; the tests of its guests fail then, and name this script.
left_out=()
if command -v go > /dev/null; then
  # without the paths of this machine; the name section stays, so that a trap names functions
  for package in conformance examples runtime; do
    (cd guest-examples/go && GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared -o "$guests/go/${package}_go.wasm" "./$package")
    modules+=("$guests/go/${package}_go.wasm")
  done
else
  left_out+=("Go is missing, and the guests in Go are not built: install Go 1.26 or newer from https://go.dev/dl and put it on the PATH.")
fi

mkdir -p "$components"
cargo run --quiet -p thalweg-wasm --example componentize -- "$components" "${modules[@]}" guest-examples/evil/wat/*.wat
[ "${#left_out[@]}" -eq 0 ] || printf '%s\n' "${left_out[@]}" >&2
