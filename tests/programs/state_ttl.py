"""State of an SDK that nobody writes, under a clock of its own.

usage: state_ttl.py FILE [OPTION...]; prints one line of JSON: what was found in the state of each element, in the order of the clock.
What is found is noted in FILE.
"""
import json
import sys

import apache_beam as beam
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import userstate
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Timestamp


class Remember(beam.DoFn):
    """Every kind of state that this SDK remembers from bundle to bundle. Who says `wait` sets a timer as well."""
    VALUE = userstate.ReadModifyWriteStateSpec('value', coders.VarIntCoder())
    BAG = userstate.BagStateSpec('bag', coders.StrUtf8Coder())
    SUM = userstate.CombiningValueStateSpec('sum', sum)
    SET = userstate.SetStateSpec('set', coders.StrUtf8Coder())
    LATER = userstate.TimerSpec('later', TimeDomain.REAL_TIME)

    def __init__(self, file):
        self.file = file

    def note(self, *found):
        with open(self.file, 'a', encoding='utf-8') as file:
            file.write(json.dumps(found) + '\n')

    def process(self, element, value=beam.DoFn.StateParam(VALUE), bag=beam.DoFn.StateParam(BAG),
                total=beam.DoFn.StateParam(SUM), names=beam.DoFn.StateParam(SET), later=beam.DoFn.TimerParam(LATER)):
        key, word = element
        # to read a combining state is to write it: this SDK merges its accumulators then
        self.note(key, word, value.read(), sorted(bag.read()), None if word == 'ask' else total.read(), sorted(names.read()))
        if word == 'ask':
            return
        value.write((value.read() or 0) + 1)
        bag.add(word)
        total.add(1)
        names.add(word)
        if word == 'wait':
            later.set(Timestamp(40))

    @userstate.on_timer(LATER)
    def told(self, key=beam.DoFn.KeyParam, value=beam.DoFn.StateParam(VALUE)):
        self.note(key, 'timer', value.read())


def main():
    file, *options = sys.argv[1:]
    pipeline = beam.Pipeline(options=PipelineOptions(['--streaming', '--environment_type=LOOPBACK', *options]))
    stream = TestStream(coder=coders.TupleCoder((coders.StrUtf8Coder(), coders.StrUtf8Coder())))
    steps = [
        (0, [('old', 'one'), ('hot', 'one'), ('timed', 'wait')]),
        (5, [('hot', 'two'), ('old', 'ask')]),
        (5, [('old', 'three'), ('hot', 'three')]),
        (5, [('old', 'ask'), ('hot', 'ask')]),
        (10, [('old', 'ask'), ('hot', 'four'), ('timed', 'ask')]),
        (20, [('timed', 'ask')]),
        (20, [('timed', 'ask')]),
    ]
    for seconds, elements in steps:
        if seconds:
            stream.advance_processing_time(seconds)
        stream.add_elements(elements)
    stream.advance_watermark_to_infinity()
    pairs = pipeline | stream | beam.Map(lambda pair: pair).with_output_types(tuple[str, str])
    pairs | beam.ParDo(Remember(file))
    pipeline.run().wait_until_finish()
    with open(file, encoding='utf-8') as found:
        print(json.dumps([json.loads(line) for line in found]))


if __name__ == '__main__':
    main()
