#!/usr/bin/env bash
# Every check there is, in one go. Each step writes to out/test/<step>.log; of a step that fails the end is shown.
#
#   scripts/test.sh
#
# All steps run even if one fails; a summary comes last. Exit code 1 if any failed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

logs=out/test
rm -rf "$logs"
mkdir -p "$logs"
summary=()
failed=0

# CI ends hard after 90 minutes; the summary is to come before that.
minutes_left() { echo $(((85 * 60 - SECONDS) / 60 > 1 ? (85 * 60 - SECONDS) / 60 : 1)); }

# step NAME MINUTES_MAX COMMAND...
step() {
  local name=$1 minutes=$2 start=$SECONDS outcome=ok
  shift 2
  if [ -n "${CI:-}" ] && [ "$minutes" -gt "$(minutes_left)" ]; then minutes=$(minutes_left); fi
  printf '%-34s' "$name"
  if ! timeout --kill-after=10 "${minutes}m" "$@" > "$logs/${name// /-}.log" 2>&1 < /dev/null; then
    outcome=FAILED
    failed=1
  fi
  printf '%-8s%5d s\n' "$outcome" $((SECONDS - start))
  summary+=("$(printf '%-34s%-8s%5d s   %s' "$name" "$outcome" $((SECONDS - start)) "$(tail -n 1 "$logs/${name// /-}.log")")")
  if [ "$outcome" = FAILED ]; then
    say "--- the end of $logs/${name// /-}.log"
    tail -n 40 "$logs/${name// /-}.log"
    say "---"
    return 1
  fi
}

# A pipeline file on the rows of every malformed kind.
dirty_rows() {
  "$thalweg" run guest-examples/flights/pipeline.yaml --set input=guest-examples/flights/dirty.csv --set output=out/flights-dirty
  python3 scripts/check_flights.py guest-examples/flights/dirty.csv out/flights-dirty hourly.jsonl dead_letters.jsonl
}

# The Python program without Thalweg: what the composite's fallback promises.
beam_alone() {
  "$python" guest-examples/flights/pipeline.py --runner=FnApiRunner --input="$1" --output=out/flights-beam
  python3 scripts/check_flights.py "$1" out/flights-beam models.jsonl dead_letters.jsonl
}

check_guests() {
  scripts/build-guests.sh
  local manifest=(--manifest-path guest-examples/Cargo.toml --target-dir "$guests")
  cargo fmt --manifest-path guest-examples/Cargo.toml --all --check
  cargo clippy "${manifest[@]}" --workspace --all-targets -- -D warnings
  cargo test "${manifest[@]}" --workspace
  cargo test "${manifest[@]}" -p thalweg-udf
  check_go
}

# The SDK for Go and its guests: formatted, vetted for this machine and for Wasm, tested.
check_go() {
  local module unformatted
  command -v go > /dev/null || { say "Go is missing: install Go 1.26 or newer from https://go.dev/dl and put it on the PATH."; return 1; }
  for module in guest-sdk/go guest-examples/go; do
    unformatted=$(cd "$module" && gofmt -l .)
    [ -z "$unformatted" ] || { printf 'not formatted by gofmt: %s\n' "$unformatted" >&2; return 1; }
    (cd "$module" && go vet ./... && GOOS=wasip1 GOARCH=wasm go vet ./... && go test ./...)
  done
}

# The SDKs of languages other than Rust, and the examples in them, by their test kits.
guest_sdks() {
  "$python" -m pytest -q -p no:cacheprovider guest-sdk/python
  "$python" -m pytest -q -p no:cacheprovider guest-examples/python
  local node
  node=$(node_home)/node
  "$node" --test guest-sdk/js/tests/*.test.js guest-examples/js/tests/*.test.js
  (cd guest-sdk/js && "$node" node_modules/typescript/bin/tsc -p tests/types)
}

# `timeout` runs programs, not functions: a function goes through `bash -c`.
export -f say dirty_rows beam_alone check_guests check_go guest_sdks node_home
export thalweg guests python root

# What tests in Rust may use.
export THALWEG_BINARY=$thalweg THALWEG_PYTHON=$python THALWEG_COMPONENTS=$components THALWEG_KAFKA=$root/scripts/kafka.sh

scripts/setup.sh system wasm python js kafka languages
say "" "About 30 minutes on 2 cores the first time, then about 10. Full output in $logs."

january=guest-examples/data/flights-2013-01.csv
step "format" 2 cargo fmt --all --check || true
step "python package" 5 "$python" -m pytest -q python-bridge || true
step "guest SDKs" 5 bash -euo pipefail -c guest_sdks || true
step "dependencies" 3 "$python" scripts/check_dependencies.py Cargo.toml guest-examples/Cargo.toml || true
step "oracle" 2 "$python" -m pytest -q -p no:cacheprovider tests/suites/test_oracle.py || true
step "flights on Beam alone" 5 bash -euo pipefail -c "beam_alone $january" || true
if step "build" 50 scripts/build.sh && step "guests" 20 bash -euo pipefail -c check_guests; then
  step "clippy" 30 cargo clippy --workspace --all-targets -- -D warnings || true
  step "rust tests" 60 cargo test --workspace --no-fail-fast || true
  step "demo" 10 scripts/demo.sh || true
  step "dirty rows" 2 bash -euo pipefail -c dirty_rows || true
  step "wordcount" 5 scripts/check_wordcount.sh "$thalweg" || true
  step "Beam suite" 25 "$python" scripts/run_suite.py "$thalweg" || true
  step "Beam suite on 4 shards" 10 "$python" scripts/run_suite.py "$thalweg" --report "$logs/shards" -- --shards 4 || true
  step "Beam suite with state" 10 "$python" scripts/run_suite.py "$thalweg" --report "$logs/state" -- --state-dir STATE || true
  step "trigger transcripts" 10 "$python" scripts/run_suite.py "$thalweg" --suite tests/suites/trigger_transcripts.py --report "$logs/triggers" || true
  step "demo on Kafka" 10 scripts/demo_kafka.sh || true
else
  say "Without the binary and the guests the other steps cannot run."
fi

say "" "Summary ($SECONDS s)"
printf '%s\n' "${summary[@]}"
# Where only the end of the output is kept, it says what failed, and what each test said first.
awk '/^---- .* stdout ----$/ { print "FAILED  " $2; left = 4; next } NF && left-- > 0 { print "  " substr($0, 1, 250) }' "$logs/rust-tests.log" 2> /dev/null | head -n 30 || true
exit "$failed"
