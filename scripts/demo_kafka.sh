#!/usr/bin/env bash
# The main example on Kafka: one broker without Docker, the flights in one topic, the results in two others.
#
#   scripts/demo_kafka.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh system wasm kafka
scripts/build.sh
scripts/build-guests.sh rust

input=guest-examples/data/flights-2013-01.csv
out=out/flights-kafka
rm -rf "$out"
mkdir -p "$out"
broker=$(mktemp -d)
trap 'scripts/kafka.sh stop "$broker"; rm -rf "$broker"' EXIT

topics() {
  java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$kafka_jars/*" scripts/kafka/Topics.java "$@"
}

say "Starting a Kafka broker (about 5 s, 400 MB of memory)"
scripts/kafka.sh start "$broker"
bootstrap=127.0.0.1:$(cat "$broker/port")
topics create "$bootstrap" flights:3 hourly:2 dead-letters:1
topics load "$bootstrap" flights "$input"

say "" "thalweg run guest-examples/flights/pipeline-kafka.yaml --set bootstrap=$bootstrap"
"$thalweg" run guest-examples/flights/pipeline-kafka.yaml --set "bootstrap=$bootstrap"
topics read "$bootstrap" hourly > "$out/hourly.jsonl"
topics read "$bootstrap" dead-letters > "$out/dead_letters.jsonl"
python3 scripts/check_flights.py "$input" "$out" hourly.jsonl dead_letters.jsonl
say "" "Output: the topics hourly and dead-letters, copied to $out"
