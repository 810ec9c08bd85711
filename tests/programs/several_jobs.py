"""Runs several jobs at once on one server, with functions in this process; prints their last states as JSON.

usage: several_jobs.py ENDPOINT JOBS FOLDER
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def run(endpoint, job, folder):
    options = PipelineOptions(
        ['--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', f'--job_name=job-{job}'])
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | beam.Create(range(100 * job, 100 * job + 100))
        | beam.Map(lambda n: (n % 7, n))
        | beam.GroupByKey()
        | beam.MapTuple(lambda rest, numbers: f'{job} {rest} {sum(numbers)}')
        | beam.io.WriteToText(os.path.join(folder, f'job-{job}'), shard_name_template=''))
    result = pipeline.run()
    result.wait_until_finish()
    return result.state


def main(endpoint, jobs, folder):
    with ThreadPoolExecutor(int(jobs)) as threads:
        print(json.dumps(list(threads.map(lambda job: run(endpoint, job, folder), range(int(jobs))))))


if __name__ == '__main__':
    main(*sys.argv[1:])
