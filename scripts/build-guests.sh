#!/usr/bin/env bash
# Builds the Rust guests of guest-examples/ and makes components of them: target/guests/components/NAME.wasm.
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
mkdir -p "$components"
cargo run --quiet -p thalweg-wasm --example componentize -- "$components" "$guests"/wasm32-unknown-unknown/release/*.wasm guest-examples/evil/wat/*.wat
