#!/usr/bin/env bash
# Thalweg beside the plain Rust limit and timely dataflow on the same input, then Python pipelines on it beside Beam's Prism and the
# FnApiRunner, then durable and on Kafka beside Flink and Kafka Streams, in one session; see bench/README.md.
#
#   scripts/bench.sh [ROUNDS [PARTS]]     PARTS: some of memory,python,durable, with commas; all without them
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=.cache/bench/data/full
built=$root/.cache/bench/target
scripts/setup.sh system wasm python
if [ ! -f "$data/table.tsv" ] || [ ! -d "$built" ]; then
  say "To be set up once: 300 MB of input (about 40 s), the peers' programs (about 2 min, 300 MB)."
fi
# table.tsv is the last file that is written
[ -f "$data/table.tsv" ] || python3 bench/gen.py "$data" 1
for peer in rust timely; do
  cargo build -q --release --manifest-path "bench/$peer/Cargo.toml" --target-dir "$built"
done
scripts/build.sh
scripts/build-guests.sh
mkdir -p out/bench
failed=0
parts=,${2:-memory,python,durable},
for scale in s10:0.1 s1:0.01; do
  place=.cache/bench/data/${scale%:*}
  [ -f "$place/table.tsv" ] || python3 bench/gen.py "$place" "${scale#*:}"
done
for scale in full s10; do
  table=.cache/bench/data/$scale/table
  [ -f "$table.csv" ] || { echo key,factor; tr '\t' , < "$table.tsv"; } > "$table.csv"
done
: > out/bench/table.txt

# A run that gives something else is dropped and named there; what follows is measured all the same.
if [[ $parts == *,memory,* ]]; then
  python3 scripts/bench.py --limit "$built/release/limit" --timely "$built/release/timely_bench" --thalweg "$thalweg" \
    --data "$data" --tenth .cache/bench/data/s10 --components "$components" --rounds "${1:-3}" --json out/bench/runs.jsonl \
    | tee -a out/bench/table.txt || failed=1
fi

if [[ $parts == *,python,* ]]; then
  # The peers of the Python pipelines are Go programs; without Go their columns are left out, and said to be.
  peers=()
  if scripts/setup.sh bench; then
    peers=(--prism "$root/.cache/bench/bin/prism" --driver "$root/.cache/bench/bin/fnapi_driver")
  fi
  python3 scripts/bench_python.py --thalweg "$thalweg" --python "$python" --data .cache/bench/data --out out/bench \
    --rounds "${1:-3}" --csv out/bench/curve.csv "${peers[@]}" | tee -a out/bench/table.txt
  python3 scripts/plot_curve.py out/bench/curve.csv out/bench/curve.svg
fi

if [[ $parts == *,durable,* ]]; then
  scripts/setup.sh kafka durable
  python3 scripts/bench_durable.py --thalweg "$thalweg" --limit "$built/release/limit" --component "$components/bench_udfs.wasm" \
    --java .cache/bench/java --data .cache/bench/data --out out/bench --rounds "${1:-5}" | tee -a out/bench/table.txt || failed=1
fi
exit "$failed"
