"""Parts of Beam's model, each a pipeline that asserts its own result.

usage: model.py NAME PIPELINE_OPTIONS...

The last line is `["NAME", "DONE"]` as JSON when the pipeline ended well and gave what it should.
"""
import json
import sys

import apache_beam as beam
from apache_beam import coders, window
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, userstate
from apache_beam.transforms.deduplicate import Deduplicate
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Timestamp


def keyed(pipeline, rows):
    """Pairs of a key and a value, at the time of the value."""
    return (
        pipeline
        | beam.Create(rows)
        | beam.Map(lambda row: window.TimestampedValue(row, row[1])).with_output_types(tuple[str, int]))


class Sorted(beam.DoFn):
    """Gives every element with those of its key that came before it."""
    LOG = userstate.BagStateSpec('log', coders.VarIntCoder())

    def process(self, element, log=beam.DoFn.StateParam(LOG)):
        log.add(element[1])
        yield element[0], list(log.read())


def sorted_input(pipeline):
    rows = [('a', 5), ('a', 1), ('b', 9), ('a', 3), ('b', 2)]
    transform = beam.ParDo(Sorted())
    asked = transform.to_runner_api_parameter

    def asking(context, **extra):
        urn, payload = asked(context, **extra)
        payload.requires_time_sorted_input = True
        context.add_requirement('beam:requirement:pardo:time_sorted_input:v1')
        return urn, payload

    transform.to_runner_api_parameter = asking
    out = keyed(pipeline, rows) | transform
    assert_that(out, equal_to(
        [('a', [1]), ('a', [1, 3]), ('a', [1, 3, 5]), ('b', [2]), ('b', [2, 9])]))


def stable_input(pipeline):
    transform = beam.Map(lambda row: row[1])
    asked = transform.to_runner_api_parameter

    def asking(context, **extra):
        urn, payload = asked(context, **extra)
        payload.requires_stable_input = True
        context.add_requirement('beam:requirement:pardo:stable_input:v1')
        return urn, payload

    transform.to_runner_api_parameter = asking
    out = keyed(pipeline, [('a', 5), ('b', 7)]) | transform
    assert_that(out, equal_to([5, 7]))


class Loop(beam.DoFn):
    """A timer that sets itself again, and never says that it is enough."""
    TIMER = userstate.TimerSpec('loop', TimeDomain.WATERMARK)

    def process(self, element, timer=beam.DoFn.TimerParam(TIMER)):
        timer.set(Timestamp(element[1]) + 30)

    @userstate.on_timer(TIMER)
    def again(self, key=beam.DoFn.KeyParam, at=beam.DoFn.TimestampParam, timer=beam.DoFn.TimerParam(TIMER)):
        timer.set(at + 30)
        yield key, int(at)


def looping_timers(pipeline):
    out = keyed(pipeline, [('a', 5)]) | beam.WindowInto(window.FixedWindows(100)) | beam.ParDo(Loop())
    out = out | 'flat' >> beam.WindowInto(window.GlobalWindows())
    assert_that(out, equal_to([('a', 35), ('a', 65), ('a', 95), ('a', 125)]))


class Kinds(beam.DoFn):
    """Every kind of state that Python has, once."""
    VALUE = userstate.ReadModifyWriteStateSpec('value', coders.VarIntCoder())
    BAG = userstate.BagStateSpec('bag', coders.VarIntCoder())
    SET = userstate.SetStateSpec('set', coders.VarIntCoder())
    SUM = userstate.CombiningValueStateSpec('sum', sum)
    LIST = userstate.OrderedListStateSpec('list', coders.VarIntCoder())

    def process(self, element, value=beam.DoFn.StateParam(VALUE), bag=beam.DoFn.StateParam(BAG),
                numbers=beam.DoFn.StateParam(SET), total=beam.DoFn.StateParam(SUM),
                ordered=beam.DoFn.StateParam(LIST)):
        n = element[1]
        value.write((value.read() or 0) + 1)
        bag.add(n)
        numbers.add(n % 2)
        total.add(n)
        ordered.add((Timestamp(100 - n), n))
        if value.read() == 4:
            ordered.clear_range(Timestamp(99), Timestamp(100))
            some = [v for _, v in ordered.read_range(Timestamp(0), Timestamp(99))]
            yield sorted(bag.read()), sorted(numbers.read()), total.read(), some
            bag.clear()
            yield list(bag.read()), [], 0, []


def state_kinds(pipeline):
    out = keyed(pipeline, [('a', 1), ('a', 2), ('a', 3), ('a', 5)]) | beam.ParDo(Kinds())
    assert_that(out, equal_to([([1, 2, 3, 5], [0, 1], 11, [5, 3, 2]), ([], [], 0, [])]))


class LargeBag(beam.DoFn):
    """A bag of more than one page."""
    BAG = userstate.BagStateSpec('bag', coders.BytesCoder())

    def process(self, element, bag=beam.DoFn.StateParam(BAG)):
        for n in range(64):
            bag.add(bytes([n]) * 100000)
        yield [len(piece) for piece in bag.read()] == [100000] * 64


def large_bag(pipeline):
    out = keyed(pipeline, [('a', 1), ('b', 2)]) | beam.ParDo(LargeBag())
    assert_that(out, equal_to([True, True]))


def side_inputs(pipeline):
    pairs = pipeline | 'pairs' >> beam.Create([('a', 1), ('b', 2), ('a', 3)])
    one = pipeline | 'one' >> beam.Create([7])
    none = pipeline | 'none' >> beam.Create([]).with_output_types(int)
    unique = pipeline | 'unique' >> beam.Create([('x', 1), ('y', 2)])
    out = pipeline | 'main' >> beam.Create(['a', 'b', 'c']) | beam.Map(
        lambda key, single, default, items, mapping, multi: (
            key, single, default, sorted(items), sorted(mapping.items()), sorted(multi[key])),
        beam.pvalue.AsSingleton(one), beam.pvalue.AsSingleton(none, default_value=9), beam.pvalue.AsList(pairs),
        beam.pvalue.AsDict(unique), beam.pvalue.AsMultiMap(pairs))
    items, mapping = [('a', 1), ('a', 3), ('b', 2)], [('x', 1), ('y', 2)]
    assert_that(out, equal_to([
        ('a', 7, 9, items, mapping, [1, 3]), ('b', 7, 9, items, mapping, [2]), ('c', 7, 9, items, mapping, [])]))


def replaced_model(pipeline):
    """A model in the global window is replaced while the main input runs."""
    events = (
        TestStream(coder=coders.StrUtf8Coder())
        .advance_watermark_to(0)
        .add_elements(['x0', 'm1']).advance_processing_time(10)
        .add_elements(['x1']).advance_processing_time(10)
        .add_elements(['m2']).advance_processing_time(10)
        .add_elements(['x2']).advance_processing_time(10)
        .add_elements(['m3']).advance_processing_time(10)
        .add_elements(['x3']).advance_processing_time(10)
        .advance_watermark_to_infinity())
    lines = pipeline | events
    models = (
        lines | 'models' >> beam.Filter(lambda line: line.startswith('m'))
        | beam.WindowInto(
            window.GlobalWindows(), trigger=trigger.Repeatedly(trigger.AfterCount(1)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING))
    out = (
        lines | 'mains' >> beam.Filter(lambda line: line.startswith('x'))
        | beam.Map(lambda line, model: (line, model), beam.pvalue.AsSingleton(models)))
    assert_that(out, equal_to([('x0', 'm1'), ('x1', 'm1'), ('x2', 'm2'), ('x3', 'm3')]))


def quiet_panes(pipeline):
    """Early, timely and late panes; a window with nothing new to say closes in silence."""
    times = lambda *all: [window.TimestampedValue(t, t) for t in all]
    events = (
        TestStream(coder=coders.VarIntCoder()).advance_watermark_to(0)
        .add_elements(times(1)).add_elements(times(2)).advance_watermark_to(20)
        .add_elements(times(3)).add_elements(times(4)).advance_watermark_to(1000)
        .add_elements(times(5)).advance_watermark_to_infinity())
    once = trigger.AfterCount(1)
    ends = trigger.AfterWatermark(early=once, late=once)
    modes = trigger.AccumulationMode
    rows = pipeline | events | beam.Map(lambda t: ('k', t))

    def panes(name, of, when, mode, wanted):
        out = (
            rows | name + ' windows' >> beam.WindowInto(of, trigger=when, accumulation_mode=mode, allowed_lateness=100)
            | name + ' group' >> beam.GroupByKey()
            | name + ' tell' >> beam.Map(
                lambda kv, pane=beam.DoFn.PaneInfoParam: (sorted(kv[1]), pane.timing, pane.index))
            | name + ' flat' >> beam.WindowInto(window.GlobalWindows()))
        assert_that(out, equal_to(wanted), name)

    early, timely, late = range(3)
    panes('discarding', window.FixedWindows(10), ends, modes.DISCARDING,
          [([1], early, 0), ([2], early, 1), ([], timely, 2), ([3], late, 3), ([4], late, 4)])
    panes('accumulating', window.FixedWindows(10), ends, modes.ACCUMULATING,
          [([1], early, 0), ([1, 2], early, 1), ([1, 2], timely, 2), ([1, 2, 3], late, 3), ([1, 2, 3, 4], late, 4)])
    panes('sessions', window.Sessions(10), trigger.Repeatedly(once), modes.DISCARDING,
          [([1], early, 0), ([2], early, 0), ([3], late, 0), ([4], late, 0)])


def redistributed(pipeline):
    rows = keyed(pipeline, [('a', 1), ('b', 2), ('a', 3)]) | beam.WindowInto(window.FixedWindows(2))
    stamp = lambda row, at=beam.DoFn.TimestampParam, of=beam.DoFn.WindowParam: (row, int(at), int(of.start))
    wanted = [(('a', 1), 1, 0), (('b', 2), 2, 2), (('a', 3), 3, 2)]
    flat = window.GlobalWindows()
    plain = rows | beam.Reshuffle() | 'stamp' >> beam.Map(stamp) | 'flat' >> beam.WindowInto(flat)
    assert_that(plain, equal_to(wanted), 'plain')
    by_key = rows | beam.transforms.util.ReshufflePerKey() | 'stamp by key' >> beam.Map(stamp)
    assert_that(by_key | 'flat by key' >> beam.WindowInto(flat), equal_to(wanted), 'by key')


def batches(pipeline):
    rows = pipeline | beam.Create([('a', n) for n in range(10)] + [('b', 7)])
    plain = rows | beam.GroupIntoBatches(4) | 'sizes' >> beam.Map(lambda row: (row[0], len(list(row[1]))))
    assert_that(plain, equal_to([('a', 4), ('a', 4), ('a', 2), ('b', 1)]), 'plain')
    sharded = rows | beam.GroupIntoBatches.WithShardedKey(4) | 'all' >> beam.FlatMap(lambda row: row[1])
    assert_that(sharded, equal_to(list(range(10)) + [7]), 'sharded')


def patient_timers(pipeline):
    """Timers by the clock, hours ahead, of an input that has an end."""
    hour = 3600
    rows = pipeline | 'rows' >> beam.Create([('a', n) for n in range(10)] + [('b', 7)])
    sizes = (
        rows | beam.GroupIntoBatches(4, max_buffering_duration_secs=hour)
        | 'sizes' >> beam.Map(lambda row: (row[0], len(list(row[1])))))
    assert_that(sizes, equal_to([('a', 4), ('a', 4), ('a', 2), ('b', 1)]), 'buffered')
    once = pipeline | 'words' >> beam.Create(['x', 'y', 'x', 'x']) | Deduplicate(processing_time_duration=hour)
    assert_that(once, equal_to(['x', 'y']), 'once')


def flattened(pipeline):
    numbers = pipeline | 'numbers' >> beam.Create([1, 2]).with_output_types(int)
    words = pipeline | 'words' >> beam.Create(['a', 'b']).with_output_types(str)
    out = (numbers, words) | beam.Flatten() | beam.Map(lambda any: (str(any), 1)) | beam.GroupByKey()
    assert_that(out | beam.Map(lambda row: row[0]), equal_to(['1', '2', 'a', 'b']))


def opaque_script(pipeline):
    """A script of pairs of which only the SDK knows where the first ends."""
    coder = coders.TupleCoder([coders.FastPrimitivesCoder(), coders.FastPrimitivesCoder()])
    script = TestStream(coder=coder).add_elements([('a', 1), (None, 'b'), ((), 2.5)]).advance_watermark_to_infinity()
    assert_that(pipeline | script, equal_to([('a', 1), (None, 'b'), ((), 2.5)]))


def many_sessions(pipeline):
    """Thousands of sessions of one key, and a session of thousands of elements."""
    def summed(name, distance):
        return (
            pipeline | name >> beam.Create(range(5000))
            | name + ' rows' >> beam.Map(lambda n: window.TimestampedValue(('k', n), n * distance))
            | name + ' windows' >> beam.WindowInto(window.Sessions(10)) | name + ' group' >> beam.GroupByKey()
            | name + ' count' >> beam.MapTuple(lambda _, values: len(list(values)))
            | name + ' flat' >> beam.WindowInto(window.GlobalWindows())
            | name + ' all' >> beam.combiners.Count.PerElement())
    assert_that(summed('many', 100), equal_to([(1, 5000)]), 'many sessions')
    assert_that(summed('one', 1), equal_to([(5000, 1)]), 'one session')


PARTS = [sorted_input, stable_input, looping_timers, state_kinds, large_bag, side_inputs, replaced_model, quiet_panes,
         redistributed, batches, patient_timers, flattened, opaque_script, many_sessions]

STREAMING = ['replaced_model', 'quiet_panes']


def main():
    name, *arguments = sys.argv[1:]
    part = {part.__name__: part for part in PARTS}[name]
    pipeline = beam.Pipeline(options=PipelineOptions(arguments, streaming=name in STREAMING, allow_unsafe_triggers=True))
    part(pipeline)
    state = pipeline.run().wait_until_finish()
    print(json.dumps([name, state]))


if __name__ == '__main__':
    main()
