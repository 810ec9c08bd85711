#!/usr/bin/env bash
# Beam's own wordcount example, unchanged, on a runner's binary; the counts are compared with a count of their own.
#
#   scripts/check_wordcount.sh BINARY
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

out=out/wordcount
rm -rf "$out"
mkdir -p "$out"
if ! "$python" -m apache_beam.examples.wordcount --runner=PrismRunner --prism_location="$1" \
  --input=LICENSE --output="$out/counts" 2> "$out/run.log"; then
  tail -n 40 "$out/run.log" >&2
  exit 1
fi
"$python" - LICENSE "$out"/counts-* <<'P'
import collections, re, sys
text = open(sys.argv[1], encoding='utf-8').read()
wanted = collections.Counter(re.findall(r"[\w\']+", text))
lines = [line.rstrip('\n').rsplit(': ', 1) for name in sys.argv[2:] for line in open(name, encoding='utf-8')]
found = collections.Counter({word: int(count) for word, count in lines})
if wanted != found or len(lines) != len(found):
    sys.exit(f'wordcount differs: {list((wanted - found).items())[:5]} missing, {list((found - wanted).items())[:5]} too many')
print(f'wordcount: {len(found)} words, {sum(found.values())} counted')
P
