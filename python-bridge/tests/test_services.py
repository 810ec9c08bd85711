"""thalweg.with_kafka: where Kafka's transforms are expanded."""

import apache_beam as beam
import pytest
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.options.pipeline_options import CrossLanguageOptions
from apache_beam.options.pipeline_options import PipelineOptions

import thalweg
from thalweg import services


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv('BEAM_SERVICE_OVERRIDES', raising=False)


def found(options):
    return options.view_as(CrossLanguageOptions).beam_services


def test_the_server_that_takes_the_job_expands_its_transforms():
    options = PipelineOptions(['--job_endpoint=localhost:1234'])
    assert thalweg.expansion_service(options) == 'localhost:1234'
    assert thalweg.with_kafka(options) is options
    assert found(options) == {services.IO_SERVICE: 'localhost:1234'}


def test_a_service_that_was_named_stays():
    named = '--beam_services={"%s": "localhost:1", "other": "localhost:2"}' % services.IO_SERVICE
    options = thalweg.with_kafka(PipelineOptions([named, '--job_endpoint=localhost:1234']))
    assert found(options) == {services.IO_SERVICE: 'localhost:1', 'other': 'localhost:2'}


def test_the_shared_server_is_started_where_none_is_named(monkeypatch):
    class Server:
        def start(self):
            return 'localhost:77'

    monkeypatch.setattr(services.runner, 'shared_server', lambda options: Server())
    assert thalweg.expansion_service() == 'localhost:77'


def test_beam_takes_the_option_for_kafkas_service(monkeypatch):
    options = thalweg.with_kafka(PipelineOptions(['--job_endpoint=localhost:1234']))
    pipeline = beam.Pipeline(options=options)
    pipeline.run = lambda *args, **kwargs: type('Done', (), {'wait_until_finish': lambda self: None})()
    with pipeline:
        transform = ReadFromKafka({'bootstrap.servers': 'b:1'}, ['t'])
    assert transform._expansion_service.path_to_jar == 'localhost:1234'
