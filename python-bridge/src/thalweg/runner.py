"""The runner class: starts the `thalweg` binary and submits the pipeline to it.

What comes in: a Beam pipeline and its options. What goes out: Beam's own Job API calls. Everything but the start of the
binary is Beam's PortableRunner.
"""

import logging
import os
import shutil

from apache_beam.options import pipeline_options
from apache_beam.runners.portability import job_server
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.portability import prism_runner
from apache_beam.utils import shared
from apache_beam.utils import subprocess_server


class ThalwegOptions(pipeline_options.PipelineOptions):
    """Options of ThalwegRunner: which binary, and how much it logs."""

    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument(
            '--thalweg_binary',
            help='Path of the thalweg binary. Default: the environment variable THALWEG_BINARY, then the PATH.')
        parser.add_argument(
            '--thalweg_log_level',
            default='info',
            choices=['debug', 'info', 'warn', 'error'],
            help='What the thalweg binary logs. Default: info.')


class ThalwegRunner(portable_runner.PortableRunner):
    """Runs a pipeline on a Thalweg that this process starts, and stops when it exits.

    Python functions run in this process (LOOPBACK) unless `--environment_type` says otherwise. With `--job_endpoint`
    no binary is started and the pipeline goes to the server there.
    """

    def default_environment(self, options):
        portable = options.view_as(pipeline_options.PortableOptions)
        if not portable.environment_type and not portable.output_executable_path:
            portable.environment_type = 'LOOPBACK'
        return super().default_environment(options)

    def default_job_server(self, options):
        return shared_server(options)

    def create_job_service_handle(self, job_service, options):
        # an option that this SDK does not know may be one of the runner's
        return portable_runner.JobServiceHandle(job_service, options, retain_unknown_options=True)


_shared = shared.Shared()


def shared_server(options: pipeline_options.PipelineOptions) -> job_server.JobServer:
    """The `thalweg` process of this process, one per binary. It is started when its endpoint is asked for first."""
    binary = find_binary(options)
    return _shared.acquire(lambda: job_server.StopOnExitJobServer(ThalwegServer(binary, options)), tag=binary)


class ThalwegServer(job_server.SubprocessJobServer):
    """The `thalweg` binary as a job server of one process, on a free port of the loopback interface."""

    def __init__(self, binary: str, options: pipeline_options.PipelineOptions):
        super().__init__()
        self._binary = binary
        self._log_level = options.view_as(ThalwegOptions).thalweg_log_level
        self._job_port = options.view_as(pipeline_options.JobServerOptions).job_port
        self._log_filter = _LogFilter()

    def subprocess_cmd_and_endpoint(self):
        port, = subprocess_server.pick_port(self._job_port)
        command = [
            self._binary, '--job_port', port, '--log_level', self._log_level, '--log_kind', 'json', '--serve_http=false'
        ]
        return command, f'localhost:{port}'


class _LogFilter(prism_runner.PrismRunnerLogFilter):
    """Turns the binary's JSON log lines into records of Python's logging, with their own level and time."""

    def filter(self, record: logging.LogRecord) -> bool:
        keep = super().filter(record)
        if record.name == 'PrismRunner':
            record.name = 'thalweg'
        return keep


def find_binary(options: pipeline_options.PipelineOptions) -> str:
    """The path of the binary to start.

    Raises:
      FileNotFoundError: nothing was named and nothing is on the PATH, or what was named is not an executable file.
    """
    sources = {
        '--thalweg_binary': options.view_as(ThalwegOptions).thalweg_binary,
        'THALWEG_BINARY': os.environ.get('THALWEG_BINARY'),
    }
    for source, path in sources.items():
        if path:
            path = os.path.abspath(path)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
            raise FileNotFoundError(f'{source} names {path}, which is not an executable file.')
    found = shutil.which('thalweg')
    if not found:
        raise FileNotFoundError(
            'There is no thalweg binary: give --thalweg_binary=PATH, set THALWEG_BINARY, or put it on the PATH.')
    return found
