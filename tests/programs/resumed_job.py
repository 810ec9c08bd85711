"""A job with splittable functions, state, timers, sessions, triggers and a side input, which is run again after its server was killed.

usage: resumed_job.py ENDPOINT FOLDER [OPTION...]; prints the last state of the job.

Numbers are counted out slowly; where the counting is can be read in FOLDER/at. The last stages see every number once, and write
FOLDER/result: a line of JSON for each thing that was asked of the numbers, sorted.
"""
import json
import os
import sys
import time

import apache_beam as beam
from apache_beam import coders, window
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import trigger, userstate
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Duration, Timestamp

NUMBERS = 300
KEYS = 3


class Offsets(RestrictionProvider):
    def initial_restriction(self, element):
        return OffsetRange(0, NUMBERS)

    def create_tracker(self, restriction):
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()


class Count(beam.DoFn):
    """Ten numbers at a time, then it asks to be called again. A number is its own time."""
    def __init__(self, folder):
        self.folder = folder

    @beam.DoFn.unbounded_per_element()
    def process(
            self, element, tracker=beam.DoFn.RestrictionParam(Offsets()),
            estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            time.sleep(0.01)
            estimator.set_watermark(Timestamp(at))
            yield window.TimestampedValue(at, at)
            at += 1
            if at % 10 == 0:
                with open(os.path.join(self.folder, 'at'), 'a', encoding='utf-8') as file:
                    file.write(f'{at}\n')
                tracker.defer_remainder(Duration(0.05))
                return


class Running(beam.DoFn):
    """Gives every number its place among those of its key, and at the end of time how many there were."""
    SEEN = userstate.CombiningValueStateSpec('seen', sum)
    LAST = userstate.TimerSpec('last', TimeDomain.WATERMARK)

    def process(self, element, seen=beam.DoFn.StateParam(SEEN), last=beam.DoFn.TimerParam(LAST)):
        seen.add(1)
        last.set(Timestamp(NUMBERS))
        yield 'place', element[0], element[1], seen.read()

    @userstate.on_timer(LAST)
    def end(self, key=beam.DoFn.KeyParam, seen=beam.DoFn.StateParam(SEEN)):
        yield 'timer', key, seen.read(), 0


class Ticks(beam.DoFn):
    """A loop of timers by the clock, as long as a key has something to wait for."""
    BAG = userstate.BagStateSpec('bag', coders.VarIntCoder())
    TICK = userstate.TimerSpec('tick', TimeDomain.REAL_TIME)

    def process(self, element, bag=beam.DoFn.StateParam(BAG), tick=beam.DoFn.TimerParam(TICK)):
        bag.add(element[1])
        tick.set(Timestamp.now() + 0.2)

    @userstate.on_timer(TICK)
    def tock(self, bag=beam.DoFn.StateParam(BAG), tick=beam.DoFn.TimerParam(TICK)):
        numbers = list(bag.read())
        bag.clear()
        if numbers:
            tick.set(Timestamp.now() + 0.2)
        yield from numbers


def collected(rows, name):
    """All rows, once the end of time has come."""
    return (
        rows | name + ' whole' >> beam.WindowInto(
            window.GlobalWindows(), trigger=trigger.AfterWatermark(),
            accumulation_mode=trigger.AccumulationMode.DISCARDING)
        | name + ' one key' >> beam.Map(lambda row: (0, row))
        | name + ' together' >> beam.GroupByKey()
        | name + ' sorted' >> beam.Map(lambda kv: (name, sorted(kv[1]))))


def build(pipeline, folder):
    numbers = pipeline | beam.Create(['all']) | beam.ParDo(Count(folder)).with_output_types(int)
    keyed = numbers | beam.Map(lambda n: (n % KEYS, n)).with_output_types(tuple[int, int])
    early = (
        keyed | beam.WindowInto(
            window.FixedWindows(50), trigger=trigger.AfterWatermark(early=trigger.AfterCount(7)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING)
        | 'early' >> beam.GroupByKey() | beam.FlatMap(lambda kv: kv[1]))
    tens = numbers | beam.Filter(lambda n: n % 20 < 10)
    sessions = (
        tens | beam.Map(lambda n: ('s', n)) | 'gaps' >> beam.WindowInto(window.Sessions(3)) | beam.CombinePerKey(sum)
        | beam.Map(lambda kv: kv[1]))
    factor = pipeline | 'factor' >> beam.Create([2])
    twice = numbers | beam.Map(lambda n, by: n * by, beam.pvalue.AsSingleton(factor))
    parts = [
        collected(keyed | beam.ParDo(Running()), 'places'), collected(early, 'early'), collected(sessions, 'sessions'),
        collected(keyed | beam.ParDo(Ticks()).with_output_types(int), 'ticks'), collected(twice, 'twice')]

    def write(part):
        with open(os.path.join(folder, 'result'), 'a', encoding='utf-8') as file:
            file.write(json.dumps(part) + '\n')

    parts | beam.Flatten() | beam.Map(write)


def wanted():
    """What the result has to be, without Beam."""
    numbers = list(range(NUMBERS))
    places = [['place', n % KEYS, n, n // KEYS + 1] for n in numbers]
    places += [['timer', key, NUMBERS // KEYS, 0] for key in range(KEYS)]
    sessions = [sum(range(n, n + 10)) for n in range(0, NUMBERS, 20)]
    return {
        'places': sorted(places), 'early': numbers, 'sessions': sessions, 'ticks': numbers, 'twice': [2 * n for n in numbers]}


def differences(folder):
    """Names of the results that are wrong or missing."""
    with open(os.path.join(folder, 'result'), encoding='utf-8') as file:
        found = dict(json.loads(line) for line in file)
    return [name for name, rows in wanted().items() if found.get(name) != rows]


def main():
    endpoint, folder, *options = sys.argv[1:]
    pipeline = beam.Pipeline(options=PipelineOptions(
        ['--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', '--streaming',
         '--state_name=resumed', *options]))
    build(pipeline, folder)
    state = pipeline.run().wait_until_finish()
    print(json.dumps([state, differences(folder)]))


if __name__ == '__main__':
    main()
