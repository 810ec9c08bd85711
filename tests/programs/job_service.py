"""Asks a server by the stubs of Beam's Job API what it has; drains an endless job; prints the answers as JSON.

usage: job_service.py ENDPOINT
"""

import json
import os
import sys
import time

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.periodicsequence import PeriodicImpulse


def main(endpoint):
    stub = beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel(endpoint))
    options = PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', '--job_name=drained',
        '--streaming', '--my_password=hush'])
    pipeline = beam.Pipeline(options=options)
    pipeline | 'Ticks' >> PeriodicImpulse(fire_interval=0.1) | 'Count' >> beam.Map(lambda x: x)
    result = pipeline.run()
    while result.state != PipelineState.RUNNING:
        time.sleep(0.05)
    time.sleep(1)
    job = next(j for j in stub.GetJobs(api.GetJobsRequest()).job_info if j.job_name == 'drained')
    names = {t.unique_name for t in stub.GetPipeline(
        api.GetJobPipelineRequest(job_id=job.job_id)).pipeline.components.transforms.values()}
    described = {o.name for o in stub.DescribePipelineOptions(api.DescribePipelineOptionsRequest()).options}
    draining = stub.Drain(api.DrainJobRequest(job_id=job.job_id)).state
    states = [api.JobState.Enum.Name(s.state) for s in stub.GetStateStream(api.GetJobStateRequest(job_id=job.job_id), timeout=60)]
    print(json.dumps({
        'state': api.JobState.Enum.Name(job.state),
        'masked': 'hush' not in str(job.pipeline_options),
        'pipeline': {'Ticks', 'Count'} <= names,
        'options': sorted(described & {'job_name', 'sdk_worker_parallelism', 'max_bundle_size', 'state_name', 'bundle_retries'}),
        'drain': api.JobState.Enum.Name(draining),
        'states': states,
    }), flush=True)
    os._exit(0)


if __name__ == '__main__':
    main(*sys.argv[1:])
