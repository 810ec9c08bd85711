"""thalweg.ThalwegRunner: how the binary is found and started."""

import json
import logging
import os
import stat

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.runners import runner as runners

import thalweg
from thalweg.runner import ThalwegServer
from thalweg.runner import _LogFilter
from thalweg.runner import find_binary


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / 'thalweg'
    path.write_text('#!/bin/sh\nexit 7\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv('THALWEG_BINARY', raising=False)
    monkeypatch.setenv('PATH', '/nonexistent')


def test_the_runner_is_found_by_its_dotted_name():
    assert isinstance(runners.create_runner('thalweg.ThalwegRunner'), thalweg.ThalwegRunner)


def test_the_option_goes_before_the_environment_and_that_before_the_path(binary, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', os.path.dirname(binary))
    assert find_binary(PipelineOptions([])) == binary
    other = tmp_path / 'other'
    other.write_text('')
    other.chmod(0o755)
    monkeypatch.setenv('THALWEG_BINARY', str(other))
    assert find_binary(PipelineOptions([])) == str(other)
    assert find_binary(PipelineOptions([f'--thalweg_binary={binary}'])) == binary


def test_a_named_binary_that_is_none_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='--thalweg_binary names'):
        find_binary(PipelineOptions([f'--thalweg_binary={tmp_path}']))


def test_no_binary_at_all_says_what_to_do():
    with pytest.raises(FileNotFoundError, match='THALWEG_BINARY'):
        find_binary(PipelineOptions([]))


def test_the_binary_is_started_with_the_flags_of_prism(binary):
    command, endpoint = ThalwegServer(binary, PipelineOptions(['--thalweg_log_level=warn'])).subprocess_cmd_and_endpoint()
    port = endpoint.removeprefix('localhost:')
    assert [str(x) for x in command] == [
        binary, '--job_port', port, '--log_level', 'warn', '--log_kind', 'json', '--serve_http=false'
    ]


def test_functions_run_in_this_process_by_default():
    options = PipelineOptions([])
    thalweg.ThalwegRunner().default_environment(options)
    assert options.view_as(PortableOptions).environment_type == 'LOOPBACK'


def test_a_log_line_of_the_binary_keeps_its_level():
    line = json.dumps({'level': 'WARN', 'msg': 'late', 'time': '2013-01-01T10:00:00+00:00',
                       'source': {'function': 'f', 'file': 'a/b.rs', 'line': 3}, 'rows': 2})
    record = logging.LogRecord('x', logging.INFO, 'p', 1, line, (), None, func='log_stdout')
    assert _LogFilter().filter(record)
    assert (record.name, record.levelno, record.getMessage()) == ('thalweg', logging.WARN, 'late (rows=2)')


def test_a_binary_that_ends_at_once_fails_the_run(binary):
    pipeline = beam.Pipeline(argv=['--runner=thalweg.ThalwegRunner', f'--thalweg_binary={binary}'])
    pipeline | beam.Create([1])
    with pytest.raises(RuntimeError, match='7'):
        pipeline.run()
