# Names and helpers that the other scripts share; to be sourced by bash.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export LC_ALL=C.UTF-8

target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
export CARGO_TARGET_DIR=$target
thalweg=$target/debug/thalweg
# guests are found at a fixed place, wherever the host is built
guests=$root/target/guests
components=$guests/components
python=$root/.venv/bin/python
kafka_jars=$root/.cache/kafka/lib
# exists if the guests are compiled by Debian's Rust, because rustup could not give the target
wasm_debian=$root/.cache/stamps/wasm-debian

# what the JavaScript guests are built with: guest-sdk/js/node_modules is a link to it
js_modules=$root/.cache/js/node_modules

say() { printf '%s\n' "$@"; }

# Where Node.js is: that of the machine if it is new enough, else the one in .venv.
node_home() {
  if command -v npm > /dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2> /dev/null; then
    dirname "$(command -v node)"
  else
    echo "$root/.venv/bin"
  fi
}

# Ends with 3, "the machine lacks something", and the sentences given.
lacking() {
  printf '%s\n' "$@" >&2
  exit 3
}
