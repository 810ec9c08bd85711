#!/usr/bin/env bash
# What a newcomer waits for, per language: `thalweg udf new`, the tests in the language itself, build, and a run over a file.
#
#   scripts/newcomer.sh [LANGUAGE...]     rust, go, python, js; all of them without one
#
# Cold: nothing of the language's caches, nor the tools that are fetched once. Warm: the function was changed, and is built and tested
# again. Times are wall clock in seconds; nothing asserts them. A language whose tools are missing is left out, with what installs them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

thalweg=$(scripts/build.sh | tail -n 1)
unset CARGO_TARGET_DIR # projects have their own
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p out

# Caches of their own, so that a cold run is one. What Rust downloads stays where it is: it is the crates of the SDK, a few seconds.
export XDG_CACHE_HOME=$work/cache GOCACHE=$work/go-build npm_config_cache=$work/npm PIP_CACHE_DIR=$work/pip

# seconds COMMAND...: runs it; prints how long it took.
seconds() {
  local start=$EPOCHREALTIME
  if ! "$@" > out/newcomer.log 2>&1 < /dev/null; then
    tail -n 20 out/newcomer.log >&2
    echo failed
    return
  fi
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

try() { "$thalweg" udf test examples/lines.jsonl --function split --expect examples/lines.expected.jsonl --component "$1"; }

printf '%-8s %-5s %8s %8s %8s %8s\n' language '' new tests build run
for language in ${*:-rust go python js}; do
  if ! "$thalweg" doctor "$language" > out/newcomer.log; then
    printf '%-8s left out: %s\n' "$language" "$(tail -n 1 out/newcomer.log)"
    continue
  fi
  project=$work/my-$language
  new=$(seconds "$thalweg" udf new "$language" "$project")
  cd "$project"
  mkdir -p out
  for state in cold warm; do
    [ "$state" = cold ] || find . -maxdepth 2 \( -name functions.go -o -name functions.py -o -name functions.js -o -path ./src/lib.rs \) \
      -exec sed -i 's/the text has no words/there are no words/' {} +
    tests=$(seconds "$thalweg" udf test)
    build=$(seconds "$thalweg" udf build)
    ran=$(seconds try ./*.wasm)
    printf '%-8s %-5s %8s %8s %8s %8s\n' "$language" "$state" "$new" "$tests" "$build" "$ran"
    new=
  done
  cd "$root"
done
