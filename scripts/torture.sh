#!/usr/bin/env bash
# What reliability is measured by: random kills of a whole job, and of the processes and the broker of a cluster, and seeds of the engine's
# simulation. Adds lines to RELIABILITY.md.
#
#   scripts/torture.sh [KILLS [SEEDS [ROUNDS]]]      100, 2000 and 20 without them; about 30 minutes on 2 cores
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kills=${1:-100}
seeds=${2:-2000}
rounds=${3:-20}
export THALWEG_BINARY=$thalweg THALWEG_PYTHON=$python THALWEG_COMPONENTS=$components THALWEG_KAFKA=$root/scripts/kafka.sh
export THALWEG_TORTURE_KILLS=$kills THALWEG_SIM_SEEDS=$seeds THALWEG_TORTURE=$rounds
logs=out/torture
mkdir -p "$logs"
scripts/setup.sh system wasm python kafka
scripts/build.sh
scripts/build-guests.sh
violations=0

# part NAME WHAT PATTERN COMMAND...: runs the command; a line of the table for each line of its output that has the pattern
part() {
  local name=$1 what=$2 pattern=$3 load seed outcome=ok
  shift 3
  say "$what; output in $logs/$name.log"
  load=$(cut -d ' ' -f 1 /proc/loadavg)
  "$@" -- --nocapture > "$logs/$name.log" 2>&1 || { violations=1; outcome=FAILED; }
  seed=$(grep -ho 'THALWEG_KILL_SEED=[0-9]*' "$logs/$name.log" | head -n 1 || true)
  while read -r line; do
    printf '| %s | %s | %s | %s |\n' "$(date -u +%F)" "$what" "${line#torture: }${seed:+; $seed}" "$load" >> RELIABILITY.md
  done < <(grep -h "$pattern" "$logs/$name.log" || echo "$outcome: see the log")
  if [ "$outcome" = FAILED ]; then printf '| %s | %s | FAILED: see the log | %s |\n' "$(date -u +%F)" "$what" "$load" >> RELIABILITY.md; fi
}

part kills "a job on the embedded log" '^torture: ' cargo test -p acceptance --test torture
part cluster "a cluster on Kafka" '^torture: ' cargo test -p acceptance --test cluster
part seeds "the engine's simulation" '^[0-9]* seeds: ' cargo test -p thalweg-core --test simulation whatever
say ""
tail -n 6 RELIABILITY.md
exit "$violations"
