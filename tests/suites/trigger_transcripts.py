"""Beam's transcripts of triggers, played through a TestStream on any job server.

    RUNNER_BIN=path/to/thalweg python -m pytest trigger_transcripts.py -q

The transcripts and what they are checked with ship inside the apache-beam wheel; Beam itself runs them on its direct runner. Each is
played for a GroupByKey and for a CombinePerKey, for several keys, and every pane has to come right where the transcript expects it:
between two events of the stream. Transcripts that name an `error` are meant to fail, with that message.

RUNNER_ARGS adds arguments to the server.
"""
import os
import shlex
import unittest

from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.transforms import trigger_test
from apache_beam.transforms.window import TimestampCombiner
from apache_beam.utils import subprocess_server


class TriggerTranscripts(trigger_test.BaseTestStreamTranscriptTest):
  """Every transcript, in its strict form: what a transcript does not expect by now must not have come."""
  allow_out_of_order = False

  @classmethod
  def setUpClass(cls):
    command = [os.environ['RUNNER_BIN'], '--job_port', '{{PORT}}', '--serve_http=false']
    command += shlex.split(os.environ.get('RUNNER_ARGS', ''))
    cls.server = subprocess_server.SubprocessServer(lambda channel: None, command)
    cls.options = TestPipeline.pytest_test_pipeline_options
    endpoint = cls.server.start_process()[1]
    TestPipeline.pytest_test_pipeline_options = (
        '--runner=PortableRunner --environment_type=LOOPBACK --job_endpoint=' + endpoint)

  @classmethod
  def tearDownClass(cls):
    TestPipeline.pytest_test_pipeline_options = cls.options
    cls.server.stop()

  def _execute(self, window_fn, trigger_fn, accumulation_mode, timestamp_combiner, *more):
    if timestamp_combiner == TimestampCombiner.OUTPUT_AT_EARLIEST_TRANSFORMED:
      # no pipeline proto can say it, so no job server gets to see it; Beam skips it for its runners on the Fn API, too
      self.skipTest('Non-fnapi timestamp combiner')
    super()._execute(window_fn, trigger_fn, accumulation_mode, timestamp_combiner, *more)


TriggerTranscripts._create_tests(trigger_test.TRANSCRIPT_TEST_FILE)

if __name__ == '__main__':
  unittest.main()
