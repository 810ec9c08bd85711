#!/usr/bin/env bash
# The main example: real flights through a Wasm function, windows and native combines, then through a Python worker.
#
#   scripts/demo.sh [january|full]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-january} in
  january) input=guest-examples/data/flights-2013-01.csv out=out/flights parts=(system wasm python) ;;
  full) input=.cache/flights/2013.csv out=out/flights-2013 parts=(system wasm python flights) ;;
  *) say "demo.sh: january or full, not $1" >&2; exit 2 ;;
esac

scripts/setup.sh "${parts[@]}"
scripts/build.sh
scripts/build-guests.sh rust
rows=$(($(wc -l < "$input") - 1))

# Runs a command with its output on the screen and prints its speed; the oracle then looks at what it wrote.
timed() {
  local label=$1 start=$EPOCHREALTIME
  shift
  "$@"
  "$python" -c 'import sys
rows, start, end = int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
print(f"{sys.argv[1]}: {rows:,} rows in {end - start:.1f} s, {rows / (end - start):,.0f} rows/s")' \
    "$label" "$rows" "$start" "$EPOCHREALTIME"
}

rm -rf "$out" "$out-models"
mkdir -p "$out" "$out-models"

say "" "1. thalweg run guest-examples/flights/pipeline.yaml"
timed "native and Wasm" "$thalweg" run guest-examples/flights/pipeline.yaml --set "input=$input" --set "output=$out"
python3 scripts/check_flights.py "$input" "$out" hourly.jsonl dead_letters.jsonl

say "" "2. python guest-examples/flights/pipeline.py --runner=PrismRunner --prism_location=$thalweg"
if ! timed "Wasm and Python" "$python" guest-examples/flights/pipeline.py --runner=PrismRunner \
  --prism_location="$thalweg" --input="$input" --output="$out-models" 2> "$out-models/run.log"; then
  tail -n 40 "$out-models/run.log" >&2
  exit 1
fi
python3 scripts/check_flights.py "$input" "$out-models" models.jsonl dead_letters.jsonl

python3 scripts/demo_report.py "$out" "$out-models"
