#!/usr/bin/env bash
# Builds the thalweg binary alone. The last line printed is its path.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh system
if [ ! -x "$thalweg" ]; then
  say "Building thalweg into $target: the first time about 20 minutes on 2 cores (RocksDB is C++) and 3 GB."
fi
cargo build -p thalweg --bin thalweg
say "$thalweg"
