"""Splittable functions through a job server: split while they run, endless ones with live metrics, truncated by a drain.

usage: splits_job.py ENDPOINT slow|endless [OPTION...]; prints one line of JSON.

slow: one restriction of 40 slow steps; how many bundles took part, and the numbers. endless: counts until its job, whose counter is
seen while it runs, is drained; what it truncated to, and the state it ended in.
"""
import json
import sys
import time

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.transforms.core import RestrictionProvider

STEPS = 40
ENDLESS = 2**40


class Offsets(RestrictionProvider):
  def __init__(self, end):
    self.end = end

  def initial_restriction(self, element):
    return OffsetRange(0, self.end)

  def create_tracker(self, restriction):
    return OffsetRestrictionTracker(restriction)

  def restriction_size(self, element, restriction):
    return restriction.size()

  def truncate(self, element, restriction):
    if self.end < ENDLESS:
      return restriction
    # the whole of the job has seen fewer numbers than this, and is to see these three
    return OffsetRange(restriction.start, restriction.start + 3)


class Slow(beam.DoFn):
  """Puts out (begin of its part, number)."""
  def process(self, element, tracker=beam.DoFn.RestrictionParam(Offsets(STEPS))):
    begin = at = tracker.current_restriction().start
    while tracker.try_claim(at):
      time.sleep(0.25)
      yield begin, at
      at += 1


class Endless(beam.DoFn):
  @beam.DoFn.unbounded_per_element()
  def process(self, element, tracker=beam.DoFn.RestrictionParam(Offsets(ENDLESS))):
    at = tracker.current_restriction().start
    while tracker.try_claim(at):
      Metrics.counter('endless', 'seen').inc()
      time.sleep(0.02)
      yield at
      at += 1


def slow(options):
  def check(parts):
    parts = list(parts)
    numbers = sorted(number for _, number in parts)
    return [(len({begin for begin, _ in parts}), numbers == list(range(STEPS)))]

  def told(answer):
    Metrics.counter('slow', 'parts').inc(answer[0])
    Metrics.counter('slow', 'right').inc(int(answer[1]))

  begun = time.time()
  pipeline = beam.Pipeline(options=options)
  (pipeline | beam.Create(['all']) | beam.ParDo(Slow()) | beam.WithKeys(lambda _: 0)
   | beam.GroupByKey() | beam.FlatMap(lambda kv: check(kv[1])) | beam.Map(told))
  result = pipeline.run()
  result.wait_until_finish()
  return {'parts': committed(result, 'parts'), 'right': committed(result, 'right'), 'seconds': time.time() - begun}


def counters(result, name):
  result._metrics = None  # or the first answer would stand for ever
  return result.metrics().query(MetricsFilter().with_name(name))['counters']


def committed(result, name):
  return sum(c.committed or 0 for c in counters(result, name))


def attempted(result, name):
  return sum(c.attempted or 0 for c in counters(result, name))


def endless(options):
  pipeline = beam.Pipeline(options=options)
  pipeline | beam.Create(['all']) | beam.ParDo(Endless()) | beam.Map(lambda n: Metrics.counter('endless', 'out').inc())
  result = pipeline.run()
  live = until(lambda: attempted(result, 'seen'))
  # epochs go on although the function never returns
  lasting = until(lambda: committed(result, 'out'))
  jobs = result._job_service
  jobs.Drain(beam_job_api_pb2.DrainJobRequest(job_id=result._job_id))
  until(lambda: state(jobs, result) in ('DRAINED', 'DONE', 'FAILED', 'CANCELLED'))
  seen, out = committed(result, 'seen'), committed(result, 'out')
  return {'live': live > 0, 'lasting': lasting > 0, 'all': seen == out and seen > 0, 'state': state(jobs, result)}


def state(jobs, result):
  answer = jobs.GetState(beam_job_api_pb2.GetJobStateRequest(job_id=result._job_id))
  return beam_job_api_pb2.JobState.Enum.Name(answer.state)


def until(look, seconds=30):
  end = time.time() + seconds
  while time.time() < end:
    found = look()
    if found:
      return found
    time.sleep(0.1)
  raise TimeoutError('nothing within %s s' % seconds)


def main():
  endpoint, what = sys.argv[1:3]
  arguments = ['--runner=PortableRunner', '--job_endpoint=' + endpoint, '--environment_type=LOOPBACK', *sys.argv[3:]]
  answer = {'slow': slow, 'endless': endless}[what](PipelineOptions(arguments))
  print(json.dumps(answer), flush=True)


if __name__ == '__main__':
  main()
