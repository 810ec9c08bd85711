"""One key gets values of MEGABYTES in all, several other keys get one each. Usage: large_value.py MEGABYTES [pipeline options].

The function behind the grouping walks through the values twice and keeps none. Prints, as JSON: how many values of the large key
it saw each time, their checksum, how many small keys there were, whether the large value came as a list (which is
all of it in memory), and the most memory that this process, where the functions run under LOOPBACK, has had, in MiB."""
import json
import resource
import sys

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

CHUNK = 1 << 16


def make(i):
    """A value of 64 KiB, none like another."""
    if i < 0:
        return f'small-{-i}', b'x'
    return 'large', i.to_bytes(8, 'big') * (CHUNK // 8)


class Walk(beam.DoFn):
    def process(self, pair):
        key, values = pair
        if key != 'large':
            Metrics.counter('large_value', 'small').inc()
            return
        if isinstance(values, list):
            Metrics.counter('large_value', 'lists').inc()
        for name in ['first', 'second']:
            count = check = 0
            for value in values:
                count += 1
                check += int.from_bytes(value[-8:], 'big') if len(value) == CHUNK else 1 << 40
            Metrics.counter('large_value', name).inc(count)
            Metrics.counter('large_value', name + '_check').inc(check)


def main():
    count = (int(sys.argv[1]) << 20) // CHUNK
    p = beam.Pipeline(options=PipelineOptions(sys.argv[2:]))
    (p | beam.Create(range(-5, count)) | beam.Reshuffle() | beam.Map(make).with_output_types(tuple[str, bytes])
     | beam.GroupByKey() | beam.ParDo(Walk()))
    result = p.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace('large_value'))['counters']
    answer = {c.key.metric.name: c.result for c in counters}
    answer['mib'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
