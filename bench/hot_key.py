#!/usr/bin/env python3
"""A combiner over a thousand keys, one of which has most of the elements.
usage: hot_key.py ELEMENTS hot|even [windowed] [pipeline options]

hot: nine of ten elements belong to one key; even: each key has as many. Elements are made in the worker from numbers of
blocks, so that making them costs the same both ways. If the hot key slowed the others, `hot` would take longer. Unwindowed, the
worker combines ahead of the grouping; windowed, the runner groups all values, and the hot key's are read in pages. Prints
name=value pairs."""
import sys
import time

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

BLOCK = 10_000
KEYS = 1000


class Make(beam.DoFn):
    def __init__(self, hot):
        self.hot = hot

    def process(self, block):
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            yield (0 if self.hot and i % 10 else i // 10 % KEYS), i


class Tally(beam.DoFn):
    def process(self, pair):
        Metrics.counter('hot_key', 'keys').inc()
        Metrics.counter('hot_key', 'sum').inc(pair[1])


def main():
    elements, hot = int(sys.argv[1]), sys.argv[2] == 'hot'
    start = time.time()
    windowed = 'windowed' in sys.argv
    p = beam.Pipeline(options=PipelineOptions([a for a in sys.argv[3:] if a != 'windowed']))
    pairs = (p | beam.Create(range(elements // BLOCK)) | beam.Reshuffle()
             | beam.ParDo(Make(hot)).with_output_types(tuple[int, int]))
    if windowed:
        pairs = pairs | beam.WindowInto(beam.window.FixedWindows(60))
    pairs | beam.CombinePerKey(sum) | beam.ParDo(Tally())
    result = p.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace('hot_key'))['counters']
    found = {c.key.metric.name: c.result for c in counters}
    wanted = elements * (elements - 1) // 2
    assert found['sum'] == wanted, (found, wanted)
    print('keys=%d sum=%d seconds=%.2f' % (found['keys'], found['sum'], time.time() - start), flush=True)


if __name__ == '__main__':
    main()
