"""Runs a component that describes capabilities as a job of a server.

usage: granted_job.py ENDPOINT COMPONENT GRANT...; each grant is JSON. Prints as JSON, for each, what the job ended with: nothing, or the
message of its error.
"""
import json
import sys
import typing

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import thalweg


def ended(endpoint, component, grant):
    p = beam.Pipeline(options=PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK']))
    pairs = p | beam.Create([(b'a', b'1')]).with_output_types(typing.Tuple[bytes, bytes])
    _ = pairs | thalweg.Wasm(component, 'f', output_type=bytes, grant=grant)
    try:
        p.run().wait_until_finish()
    except Exception as error:
        return str(error)
    return ''


if __name__ == '__main__':
    print(json.dumps([ended(*sys.argv[1:3], json.loads(grant)) for grant in sys.argv[3:]]))
