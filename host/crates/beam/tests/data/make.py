"""Writes the pipelines of this folder: the protos that Beam's Python SDK submits.

  .venv/bin/python host/crates/beam/tests/data/make.py

Nothing here is run, so whatever Python pickled is replaced by a number: the files are small and the same on every machine.
"""

import os
import typing

import apache_beam as beam
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import trigger
from apache_beam.transforms import userstate
from apache_beam.transforms import window

COMBINE_URNS = {
    common_urns.composites.COMBINE_PER_KEY.urn,
    *(spec.urn for spec in vars(common_urns.combine_components).values() if hasattr(spec, 'urn')),
}
HERE = os.path.dirname(os.path.abspath(__file__))


class Sum(beam.CombineFn):
    def create_accumulator(self):
        return 0

    def add_input(self, accumulator, element):
        return accumulator + element

    def merge_accumulators(self, accumulators):
        return sum(accumulators)

    def extract_output(self, accumulator):
        return accumulator


class Deduplicate(beam.DoFn):
    SEEN = userstate.BagStateSpec('seen', coders.StrUtf8Coder())
    COUNT = userstate.CombiningValueStateSpec('count', sum)
    FLUSH = userstate.TimerSpec('flush', userstate.TimeDomain.WATERMARK)
    TICK = userstate.TimerSpec('tick', userstate.TimeDomain.REAL_TIME)

    def process(
            self,
            element,
            seen=beam.DoFn.StateParam(SEEN),
            count=beam.DoFn.StateParam(COUNT),
            flush=beam.DoFn.TimerParam(FLUSH),
            tick=beam.DoFn.TimerParam(TICK)):
        yield element

    @userstate.on_timer(FLUSH)
    def flushed(self):
        yield 'flush'

    @userstate.on_timer(TICK)
    def ticked(self):
        yield 'tick'


class Ranges(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element):
        return beam.io.restriction_trackers.OffsetRange(0, element)

    def create_tracker(self, restriction):
        return beam.io.restriction_trackers.OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()


class Count(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Ranges())):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield at
            at += 1


class OwnWindowCoder(coders.Coder):
    def encode(self, value):
        return str(value.start).encode()

    def decode(self, encoded):
        start = int(encoded)
        return window.IntervalWindow(start, start + 10)

    def is_deterministic(self):
        return True


class Tens(window.NonMergingWindowFn):
    """A window function that only Python knows."""

    def assign(self, context):
        start = context.timestamp.micros // 10_000_000 * 10
        return [window.IntervalWindow(start, start + 10)]

    def get_window_coder(self):
        return OwnWindowCoder()


def wordcount(p):
    (
        p
        | beam.Create(['a b', 'b'])
        | 'Split' >> beam.FlatMap(str.split).with_output_types(str)
        | 'Pair' >> beam.Map(lambda w: (w, 1)).with_output_types(tuple[str, int])
        | 'Count' >> beam.CombinePerKey(Sum())
        | 'Format' >> beam.Map(str))


def minutes(p):
    (
        p
        | beam.Impulse()
        | 'Key' >> beam.Map(lambda _: ('k', 1)).with_output_types(tuple[str, int])
        | 'Minutes' >> beam.WindowInto(window.FixedWindows(60))
        | 'Sum' >> beam.CombinePerKey(Sum())
        | 'Use' >> beam.Map(print))


def stateful(p):
    (
        p
        | beam.Impulse()
        | 'Key' >> beam.Map(lambda _: ('k', 'v')).with_output_types(tuple[str, str])
        | 'Windows' >> beam.WindowInto(window.FixedWindows(60))
        | 'Deduplicate' >> beam.ParDo(Deduplicate()))


def sides(p):
    main = p | 'Main' >> beam.Create([1, 2])
    pairs = p | 'Pairs' >> beam.Create([('a', 1)]) | 'AsPairs' >> beam.Map(lambda x: x).with_output_types(tuple[str, int])
    one = p | 'One' >> beam.Create([3])
    main | 'Use' >> beam.Map(
        lambda x, d, i, s: (x, d, i, s),
        beam.pvalue.AsMultiMap(pairs),
        beam.pvalue.AsIter(main),
        beam.pvalue.AsSingleton(one))


def flatten(p):
    texts = p | 'Texts' >> beam.Impulse() | 'ToText' >> beam.Map(lambda _: 'a').with_output_types(str)
    bytes_ = p | 'Bytes' >> beam.Impulse()
    numbers = p | 'Numbers' >> beam.Impulse() | 'ToNumber' >> beam.Map(lambda _: 1).with_output_types(int)
    (texts, bytes_, numbers) | 'All' >> beam.Flatten() | 'Spread' >> beam.Reshuffle() | 'Use' >> beam.Map(print)


def splittable(p):
    p | beam.Impulse() | 'Sizes' >> beam.Map(lambda _: 10) | 'Count' >> beam.ParDo(Count()) | 'Use' >> beam.Map(print)


def windows(p):
    keyed = (
        p
        | beam.Impulse()
        | 'Key' >> beam.Map(lambda _: ('k', 1)).with_output_types(tuple[str, int]))
    keyed | 'Sessions' >> beam.WindowInto(window.Sessions(30)) | 'GroupSessions' >> beam.GroupByKey()
    keyed | 'Sliding' >> beam.WindowInto(window.SlidingWindows(60, 10)) | 'GroupSliding' >> beam.CombinePerKey(sum)
    keyed | 'Custom' >> beam.WindowInto(Tens()) | 'GroupCustom' >> beam.GroupByKey() | 'UseCustom' >> beam.Map(print)


def opaque(p):
    keyed = (
        p
        | beam.Impulse()
        | 'Key' >> beam.Map(lambda _: (object(), 1)).with_output_types(tuple[typing.Any, int])
        | 'Tens' >> beam.WindowInto(Tens()))
    keyed | 'Deduplicate' >> beam.ParDo(Deduplicate())
    keyed | 'Sizes' >> beam.Map(lambda pair: pair[1]).with_output_types(int) | 'Count' >> beam.ParDo(Count())


def triggers(p):
    (
        p
        | TestStream(coder=coders.VarIntCoder()).add_elements([1]).advance_watermark_to_infinity()
        | 'Key' >> beam.Map(lambda n: ('k', n)).with_output_types(tuple[str, int])
        | 'Early' >> beam.WindowInto(
            window.FixedWindows(60),
            trigger=trigger.AfterWatermark(early=trigger.AfterCount(2)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING)
        | 'Group' >> beam.GroupByKey())


def test_stream(p):
    (
        p
        | TestStream(coder=coders.TupleCoder([coders.StrUtf8Coder(), coders.StrUtf8Coder()]))
        .add_elements([window.TimestampedValue(('a', 'xy'), 1)])
        .advance_watermark_to(10)
        .advance_processing_time(5)
        .advance_watermark_to_infinity()
        | 'Use' >> beam.Map(print))


class Numbers(dict):
    """The number that stands for some pickled bytes."""

    def __missing__(self, pickled):
        self[pickled] = b'pickled %d' % len(self)
        return self[pickled]


def strip(proto):
    """Takes out what differs from machine to machine, and what nobody reads."""
    numbers = Numbers()

    def unpickle(spec):
        if spec.payload and 'python' in spec.urn or spec.urn == python_urns.GENERIC_COMPOSITE_TRANSFORM:
            spec.payload = numbers[spec.payload]

    components = proto.components
    for _, transform in sorted(components.transforms.items()):
        spec = transform.spec
        for message, urns in ((api.ParDoPayload, translations.PAR_DO_URNS), (api.CombinePayload, COMBINE_URNS)):
            if spec.urn in urns:
                payload = message.FromString(spec.payload)
                unpickle(payload.do_fn if message is api.ParDoPayload else payload.combine_fn)
                for _, side in sorted(getattr(payload, 'side_inputs', {}).items()):
                    unpickle(side.view_fn)
                    unpickle(side.window_mapping_fn)
                for _, state in sorted(getattr(payload, 'state_specs', {}).items()):
                    unpickle(state.combining_spec.combine_fn)
                spec.payload = payload.SerializeToString(deterministic=True)
        if spec.urn == common_urns.primitives.ASSIGN_WINDOWS.urn:
            payload = api.WindowIntoPayload.FromString(spec.payload)
            unpickle(payload.window_fn)
            spec.payload = payload.SerializeToString(deterministic=True)
        unpickle(spec)
        transform.annotations.clear()
    for _, coder in sorted(components.coders.items()):
        unpickle(coder.spec)
    for _, strategy in sorted(components.windowing_strategies.items()):
        unpickle(strategy.window_fn)
    for environment in components.environments.values():
        del environment.dependencies[:]
        del environment.display_data[:]
    proto.requirements.sort()
    for part in [*components.transforms.values(), *components.pcollections.values(), proto]:
        del part.display_data[:]


def write(name, build, pre_optimize='none'):
    options = PipelineOptions([
        '--environment_type=EXTERNAL', '--environment_config=localhost:1', f'--experiments=pre_optimize={pre_optimize}'
    ])
    pipeline = beam.Pipeline(runner=PortableRunner(), options=options)
    build(pipeline)
    proto = PortableRunner._optimize_pipeline(PortableRunner.get_proto_pipeline(pipeline, options), options)
    strip(proto)
    with open(os.path.join(HERE, f'{name}.pb'), 'wb') as file:
        file.write(proto.SerializeToString(deterministic=True))


def main():
    for build in (wordcount, minutes, stateful, sides, flatten, splittable, windows, opaque, triggers, test_stream):
        write(build.__name__, build)
    write('wordcount_lifted', wordcount, pre_optimize='default')
    write('minutes_lifted', minutes, pre_optimize='default')


if __name__ == '__main__':
    main()
