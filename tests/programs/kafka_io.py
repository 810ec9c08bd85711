"""Kafka through Beam's stock transforms. The first argument says what to do; the options are those of any Beam program.

Results go to a file as one JSON text a line: `--out=FILE`. `--expansion=HOST:PORT` is the expansion service; without it the program
is one that knows nothing of it, and Beam finds the service by `--beam_services` or starts a Java program.
"""

import argparse
import json
import typing

import apache_beam as beam
from apache_beam import managed
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.io.kafka import WriteToKafka
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.external import SchemaAwareExternalTransform
from apache_beam.transforms.window import FixedWindows

NUMBER = 'org.apache.kafka.common.serialization.Long'


def text(value):
    return None if value is None else value.decode()


def consumer(args):
    config = {'bootstrap.servers': args.bootstrap, 'auto.offset.reset': 'earliest', 'max.poll.records': '7'}
    if args.group:
        config['group.id'] = args.group
    return config


def write_out(lines, args):
    return (
        lines | beam.Map(lambda line: json.dumps(line, sort_keys=True))
        | beam.io.WriteToText(args.out, shard_name_template='', num_shards=1))


def read(args, **kwargs):
    return ReadFromKafka(
        consumer(args), args.topic.split(','), max_num_records=args.records, expansion_service=args.expansion,
        commit_offset_in_finalize=bool(args.group), **kwargs)


def pairs(pipeline, args):
    write_out(pipeline | read(args) | beam.MapTuple(lambda key, value: [text(key), text(value)]), args)


def metadata(pipeline, args):
    def line(row):
        headers = [[header.key, text(header.value)] for header in row.headers]
        values = row._asdict()
        values.update(key=text(row.key), value=text(row.value), headers=headers)
        return values

    write_out(pipeline | read(args, with_metadata=True) | beam.Map(line), args)


def write(pipeline, args):
    pairs = [(b'a', b'1'), (b'b', None), (b'', b'3')]
    types = typing.Tuple[bytes, typing.Optional[bytes]]
    config = {'bootstrap.servers': args.bootstrap, 'acks': 'all'}
    pipeline | beam.Create(pairs).with_output_types(types) | WriteToKafka(
        config, args.topic, expansion_service=args.expansion)


class Header(typing.NamedTuple):
    key: str
    value: bytes


class Record(typing.NamedTuple):
    key: bytes
    value: bytes
    headers: typing.Sequence[Header]
    timestamp: int


def headers(pipeline, args):
    def record(number):
        return Record(b'k', b'v%d' % number, [Header('n', str(number).encode())], 1000 + number)

    for kind in (Header, Record):
        beam.coders.registry.register_coder(kind, beam.coders.RowCoder)
    pipeline | beam.Create(range(2)) | beam.Map(record).with_output_types(Record) | WriteToKafka(
        {'bootstrap.servers': args.bootstrap}, args.topic, with_headers=True, expansion_service=args.expansion)


def numbers(pipeline, args):
    """Reads numbers as keys, and writes their doubles to the topic's namesake."""
    config = {'bootstrap.servers': args.bootstrap}
    doubled = pipeline | read(args, key_deserializer=NUMBER + 'Deserializer') | beam.MapTuple(
        lambda key, value: (2 * key, value)).with_output_types(typing.Tuple[int, bytes])
    doubled | WriteToKafka(
        config, args.topic + '-doubled', key_serializer=NUMBER + 'Serializer', expansion_service=args.expansion)


def windows(pipeline, args):
    """Counts records in windows of their own times, for ever."""
    counts = (
        pipeline | ReadFromKafka(
            consumer(args), [args.topic], timestamp_policy=ReadFromKafka.create_time_policy,
            expansion_service=args.expansion)
        | beam.WindowInto(FixedWindows(10))
        | beam.MapTuple(lambda key, value: (text(value), 1))
        | beam.CombinePerKey(sum)
        | beam.MapTuple(lambda word, count: (word.encode(), str(count).encode())).with_output_types(
            typing.Tuple[bytes, bytes]))
    counts | WriteToKafka(
        {'bootstrap.servers': args.bootstrap}, args.topic + '-counts', expansion_service=args.expansion)


SCHEMA = json.dumps({
    'type': 'object',
    'properties': {'name': {'type': 'string'}, 'n': {'type': 'integer'}, 'tags': {
        'type': 'array', 'items': {'type': 'string'}}},
    'required': ['name', 'n'],
})  # yapf: disable


def managed_kafka(pipeline, args):
    """Reads JSON and writes it again, as managed transforms."""
    config = {'topic': args.topic, 'bootstrap_servers': args.bootstrap, 'format': 'JSON'}
    reading = dict(config, schema=SCHEMA, auto_offset_reset_config='earliest', max_read_time_seconds=4)
    writing = dict(config, topic=args.topic + '-copy')
    rows = pipeline | managed.Read(managed.KAFKA, config=reading, expansion_service=args.expansion)
    rows | managed.Write(managed.KAFKA, config=writing, expansion_service=args.expansion)
    write_out(rows | beam.Map(lambda row: [row.name, row.n, None if row.tags is None else list(row.tags)]), args)


def discover(pipeline, args):
    """Finds the schema transforms, and reads lines of a file with one of them."""
    found = {t.identifier: sorted(t.configuration_schema._fields) for t in
             SchemaAwareExternalTransform.discover(args.expansion)}
    lines = pipeline | SchemaAwareExternalTransform(
        'thalweg:schematransform:text_read:v1', args.expansion, rearrange_based_on_discovery=True, path=args.topic)
    write_out((lines | beam.Map(lambda row: row.line), pipeline | beam.Create([found])) | beam.Flatten(), args)


def unknown(pipeline, args):
    read(args, value_deserializer='com.example.Other').expand(beam.pvalue.PBegin(pipeline))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('what')
    parser.add_argument('--bootstrap')
    parser.add_argument('--topic')
    parser.add_argument('--records', type=int)
    parser.add_argument('--group')
    parser.add_argument('--out')
    parser.add_argument('--expansion')
    args, rest = parser.parse_known_args()
    options = PipelineOptions(rest)
    options.view_as(StandardOptions).streaming = args.what == 'windows'
    with beam.Pipeline(options=options) as pipeline:
        globals()[args.what](pipeline, args)


if __name__ == '__main__':
    main()
