"""A pipeline of everything a bundle can do, and a worker pool that runs it in this process.

Usage: harness.py PATH. Writes the pipeline to PATH, prints the address of the pool, and ends when its input does.
"""

import logging
import sys

import apache_beam as beam
from apache_beam import coders
from apache_beam.io import restriction_trackers
from apache_beam.metrics import Metrics
from apache_beam.runners.worker import worker_pool_main
from apache_beam.transforms import environments
from apache_beam.transforms import userstate
from apache_beam.transforms import window


class Split(beam.DoFn):
    """Words with their length to the main output, long ones to `long`; numbers them by a side input."""
    def __init__(self):
        self.words = Metrics.counter('test', 'words')

    def process(self, line, ranks, bonus):
        for word in line.split():
            self.words.inc()
            yield word, ranks.get(word, 0) + sum(bonus)
            if len(word) > 4:
                yield beam.pvalue.TaggedOutput('long', word)


class Sum(beam.DoFn):
    """Sums numbers by key; says the sum when its timer fires, an hour later in event time."""
    TOTAL = userstate.ReadModifyWriteStateSpec('total', coders.VarIntCoder())
    ALL = userstate.BagStateSpec('all', coders.VarIntCoder())
    DUE = userstate.TimerSpec('due', userstate.TimeDomain.WATERMARK)

    def process(
            self,
            element,
            time=beam.DoFn.TimestampParam,
            total=beam.DoFn.StateParam(TOTAL),
            every=beam.DoFn.StateParam(ALL),
            due=beam.DoFn.TimerParam(DUE)):
        key, number = element
        total.write((total.read() or 0) + number)
        every.add(number)
        due.set(3600)
        if key == 'boom':
            raise ValueError('no boom today')
        yield from ()

    @userstate.on_timer(DUE)
    def fire(
            self,
            key=beam.DoFn.KeyParam,
            total=beam.DoFn.StateParam(TOTAL),
            every=beam.DoFn.StateParam(ALL)):
        yield '%s=%d of %d' % (key, total.read(), len(list(every.read())))
        total.clear()


class Range(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element):
        return restriction_trackers.OffsetRange(0, 10)

    def create_tracker(self, restriction):
        return restriction_trackers.OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()


class Steps(beam.DoFn):
    """Counts to ten, four numbers at a time."""
    def process(self, element, end=beam.DoFn.BundleFinalizerParam, tracker=beam.DoFn.RestrictionParam(Range())):
        end.register(lambda: print('finalized', file=sys.stderr))
        first = tracker.current_restriction().start
        for number in range(first, first + 4):
            if not tracker.try_claim(number):
                return
            yield number
        tracker.defer_remainder(beam.utils.timestamp.Duration(5))


class Boom(beam.DoFn):
    def process(self, element):
        raise KeyError('missing')


class Pairs(window.WindowFn):
    """Windows of ten seconds; those of a key that begin in the same minute become one."""
    def assign(self, context):
        return [window.IntervalWindow(context.timestamp, context.timestamp + 10)]

    def merge(self, context):
        minutes = {}
        for each in context.windows:
            minutes.setdefault(each.start.micros // 60_000_000, []).append(each)
        for same in minutes.values():
            if len(same) > 1:
                context.merge(same, window.IntervalWindow(min(w.start for w in same), max(w.end for w in same)))

    def get_window_coder(self):
        return coders.coders.IntervalWindowCoder()


def pipeline(pool):
    p = beam.Pipeline()
    start = p | 'Start' >> beam.Impulse()
    ranks = start | 'Ranks' >> beam.FlatMap(lambda _: [('one', 1), ('two', 2), ('three', 3)])
    bonus = start | 'Bonus' >> beam.FlatMap(lambda _: [1000, 2000])
    lines = start | 'Lines' >> beam.FlatMap(lambda _: ['one two three', 'three three']).with_output_types(str)
    words = lines | 'Split' >> beam.ParDo(
        Split(), beam.pvalue.AsDict(ranks), beam.pvalue.AsIter(bonus)).with_outputs('long', main='words')
    pairs = words.words | 'Pairs' >> beam.Map(lambda kv: kv).with_output_types(tuple[str, int])
    said = pairs | 'Sum' >> beam.ParDo(Sum()).with_output_types(str)
    grouped = pairs | 'Windows' >> beam.WindowInto(Pairs()) | 'Group' >> beam.GroupByKey()
    grouped | 'Grouped' >> beam.Map(lambda kv: kv)
    words.long | 'Apart' >> beam.Reshuffle() | 'Boom' >> beam.ParDo(Boom())
    steps = start | 'Steps' >> beam.ParDo(Steps()).with_output_types(int)
    # readers behind a redistribution, so that the stages above have outputs
    for name, collection in (('words', words.words), ('long', words.long), ('said', said), ('steps', steps)):
        collection | 'Shuffle ' + name >> beam.Reshuffle() | 'Read ' + name >> beam.Map(lambda x: x)
    return p.to_runner_api(default_environment=environments.ExternalEnvironment(pool))


def main():
    logging.getLogger().setLevel(logging.ERROR)
    address, server = worker_pool_main.BeamFnExternalWorkerPoolServicer.start(
        state_cache_size=1 << 20, use_process=False)
    with open(sys.argv[1], 'wb') as out:
        out.write(pipeline(address).SerializeToString())
    print(address, flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == '__main__':
    main()
