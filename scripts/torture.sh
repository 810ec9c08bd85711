#!/usr/bin/env bash
# What reliability is measured by: random kills of a whole job, and seeds of the engine's simulation. Adds a line to RELIABILITY.md.
#
#   scripts/torture.sh [KILLS] [SEEDS]      100 and 2000 without them; about 15 minutes on 2 cores
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kills=${1:-100}
seeds=${2:-2000}
export THALWEG_BINARY=$thalweg THALWEG_PYTHON=$python THALWEG_COMPONENTS=$components
export THALWEG_TORTURE_KILLS=$kills THALWEG_SIM_SEEDS=$seeds
logs=out/torture
mkdir -p "$logs"
scripts/build.sh
scripts/build-guests.sh
violations=0
say "$kills kills; output in $logs/kills.log"
cargo test -p acceptance --test torture -- --nocapture > "$logs/kills.log" 2>&1 || violations=1
say "$seeds seeds; output in $logs/seeds.log"
cargo test -p thalweg-core --test simulation whatever -- --nocapture > "$logs/seeds.log" 2>&1 || violations=1
told=$(grep -h '^torture: ' "$logs/kills.log" | sed 's/^torture: //' || true)
seed=$(grep -ho 'THALWEG_KILL_SEED=[0-9]*' "$logs/kills.log" | head -n 1 || true)
steps=$(grep -ho '^[0-9]* seeds: .*' "$logs/seeds.log" || true)
load=$(cut -d ' ' -f 1 /proc/loadavg)
[ -f RELIABILITY.md ] || printf '# Reliability\n\nWhat `make torture` found, newest last: a job on the embedded log killed at random, and seeds of the simulation.\n\n| date | kills | simulation | load |\n|---|---|---|---|\n' > RELIABILITY.md
printf '| %s | %s; %s | %s | %s |\n' "$(date -u +%F)" "${told:-FAILED, see the log}" "$seed" "${steps:-FAILED, see the log}" "$load" >> RELIABILITY.md
tail -n 1 RELIABILITY.md
exit "$violations"
