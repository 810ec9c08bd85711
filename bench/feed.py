#!/usr/bin/env python3
"""W3's function fed by the runner itself: lines from a native source, a Python DoFn, a sink that keeps nothing.
usage: feed.py FILE MAX_BUNDLE_SIZE JOB_ENDPOINT POOL_ENDPOINT

It is what bench/fnapi feeds to a bare harness: elements in, JSON changed, elements out, over the same data plane. The
worker is a process of Beam's own worker pool, as the driver's is. Time is taken inside the worker, from the start of the
first bundle to the end of the last, so that neither start-up nor the end of the job counts. MAX_BUNDLE_SIZE 0 leaves the size to
the runner. Prints name=value pairs: elements, bundles, seconds, rate (elements a second)."""
import json
import sys
import time

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner


class Runner(PortableRunner):
    def create_job_service_handle(self, job_service, options):
        # the runner's own options are not known to this SDK
        return JobServiceHandle(job_service, options, retain_unknown_options=True)


class Lines(beam.PTransform):
    """The runner's own text source."""
    def __init__(self, path):
        super().__init__()
        self.path = path

    def expand(self, begin):
        return beam.pvalue.PCollection(begin.pipeline, element_type=str)

    def get_windowing(self, unused_inputs):
        return beam.Windowing(beam.window.GlobalWindows())

    def to_runner_api_parameter(self, unused_context):
        return 'thalweg:source:text:v1', json.dumps({'path': self.path, 'plain': True}).encode()


class Discard(beam.PTransform):
    """The runner's sink that keeps nothing."""
    def expand(self, pcoll):
        return beam.pvalue.PDone(pcoll.pipeline)

    def to_runner_api_parameter(self, unused_context):
        return 'thalweg:sink:discard:v1', b''


class Change(beam.DoFn):
    def start_bundle(self):
        self.rows = 0
        Metrics.distribution('feed', 'ms').update(int(time.time() * 1000))

    def process(self, line):
        self.rows += 1
        d = json.loads(line)
        if d['ok']:
            d['amount'] *= 2
            yield json.dumps(d)

    def finish_bundle(self):
        Metrics.distribution('feed', 'ms').update(int(time.time() * 1000))
        Metrics.counter('feed', 'rows').inc(self.rows)
        Metrics.counter('feed', 'bundles').inc()


def main():
    path, size, job, pool = sys.argv[1:5]
    options = [f'--job_endpoint={job}', '--environment_type=EXTERNAL', f'--environment_config={pool}']
    if int(size):
        options.append(f'--max_bundle_size={size}')
    p = beam.Pipeline(Runner(), PipelineOptions(options))
    lines = p | Lines(path)
    lines | beam.ParDo(Change()).with_input_types(str).with_output_types(str) | Discard()
    result = p.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace('feed'))
    counts = {c.key.metric.name: c.result for c in found['counters']}
    times = found['distributions'][0].result
    seconds = (times.max - times.min) / 1000
    print('elements=%d bundles=%d seconds=%.3f rate=%.0f' %
          (counts['rows'], counts['bundles'], seconds, counts['rows'] / max(seconds, 0.001)), flush=True)


if __name__ == '__main__':
    main()
