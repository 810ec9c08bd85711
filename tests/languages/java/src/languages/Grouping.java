package languages;

import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.io.TextIO;
import org.apache.beam.sdk.metrics.Counter;
import org.apache.beam.sdk.metrics.Metrics;
import org.apache.beam.sdk.testing.TestStream;
import org.apache.beam.sdk.transforms.Combine;
import org.apache.beam.sdk.transforms.Count;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Filter;
import org.apache.beam.sdk.transforms.FlatMapElements;
import org.apache.beam.sdk.transforms.Flatten;
import org.apache.beam.sdk.transforms.GroupByKey;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.Max;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Reshuffle;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.View;
import org.apache.beam.sdk.transforms.WithKeys;
import org.apache.beam.sdk.transforms.join.CoGbkResult;
import org.apache.beam.sdk.transforms.join.CoGroupByKey;
import org.apache.beam.sdk.transforms.join.KeyedPCollectionTuple;
import org.apache.beam.sdk.transforms.windowing.AfterPane;
import org.apache.beam.sdk.transforms.windowing.AfterWatermark;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.PaneInfo;
import org.apache.beam.sdk.transforms.windowing.Sessions;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionList;
import org.apache.beam.sdk.values.PCollectionView;
import org.apache.beam.sdk.values.TimestampedValue;
import org.apache.beam.sdk.values.TupleTag;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.joda.time.Duration;
import org.joda.time.Instant;

/** Programs that group: windows, side inputs, combines, panes. */
final class Grouping {
  private Grouping() {}

  static class Expand extends DoFn<byte[], Long> {
    private final Counter seen = Metrics.counter("languages", "seen");

    @ProcessElement
    public void process(OutputReceiver<Long> out) {
      for (long n = 0; n < 100; n++) {
        seen.inc();
        out.outputWithTimestamp(n, new Instant(n * 1000));
      }
    }

    @Override
    public Duration getAllowedTimestampSkew() {
      return Duration.millis(Long.MAX_VALUE);
    }
  }

  /** The numbers from 0 to 99, each at its second. */
  static PCollection<Long> numbers(Pipeline p) {
    return p.apply("Numbers", org.apache.beam.sdk.transforms.Impulse.create()).apply(ParDo.of(new Expand()));
  }

  static WithKeys<String, Long> byRest() {
    return WithKeys.of((Long n) -> "k" + n % 7).withKeyType(TypeDescriptors.strings());
  }

  static PCollection<KV<String, Long>> keyed(Pipeline p) {
    return numbers(p).apply(byRest());
  }

  static PCollection<String> wordcount(Pipeline p) {
    return p.apply(TextIO.read().from(p.getOptions().as(Main.Options.class).getInput()))
        .apply(FlatMapElements.into(TypeDescriptors.strings())
            .via((String line) -> java.util.Arrays.asList(line.split("[^A-Za-z0-9_']+"))))
        .apply(Filter.by((String word) -> !word.isEmpty()))
        .apply(Count.perElement())
        .apply(MapElements.into(TypeDescriptors.strings()).via(kv -> kv.getKey() + ": " + kv.getValue()));
  }

  static class WindowLine extends DoFn<KV<String, Long>, String> {
    private final boolean session;

    WindowLine(boolean session) {
      this.session = session;
    }

    @ProcessElement
    public void process(@Element KV<String, Long> kv, BoundedWindow window, OutputReceiver<String> out) {
      IntervalWindow w = (IntervalWindow) window;
      long start = w.start().getMillis() / 1000;
      out.output(session
          ? kv.getKey() + " " + start + " " + w.end().getMillis() / 1000 + " " + kv.getValue()
          : start + " " + kv.getKey() + " " + kv.getValue());
    }
  }

  static PCollection<String> windowed(Pipeline p) {
    return keyed(p)
        .apply(Window.into(FixedWindows.of(Duration.standardSeconds(10))))
        .apply(Sum.longsPerKey())
        .apply(ParDo.of(new WindowLine(false)));
  }

  static PCollection<String> sessions(Pipeline p) {
    return keyed(p)
        .apply(Window.into(Sessions.withGapDuration(Duration.standardSeconds(5))))
        .apply(Sum.longsPerKey())
        .apply(ParDo.of(new WindowLine(true)));
  }

  static PCollection<String> sides(Pipeline p) {
    PCollection<Long> all = numbers(p);
    PCollectionView<Iterable<Long>> list = all.apply(View.asIterable());
    PCollectionView<java.util.Map<String, Iterable<Long>>> map = all.apply(byRest()).apply(View.asMultimap());
    return all.apply(ParDo.of(new DoFn<Long, String>() {
      @ProcessElement
      public void process(ProcessContext c) {
        long total = 0;
        long of = 0;
        for (long n : c.sideInput(list)) {
          total += n;
        }
        for (long n : c.sideInput(map).get("k" + c.element() % 7)) {
          of += n;
        }
        c.output(c.element() + " " + total + " " + of);
      }
    }).withSideInputs(list, map));
  }

  static PCollection<String> cogroup(Pipeline p) {
    PCollection<Long> all = numbers(p);
    TupleTag<Long> left = new TupleTag<>("left");
    TupleTag<Long> right = new TupleTag<>("right");
    PCollection<Long> even = all.apply(Filter.by((Long n) -> n % 2 == 0));
    return KeyedPCollectionTuple.of(left, all.apply("Left", byRest()))
        .and(right, even.apply("Right", byRest()))
        .apply(CoGroupByKey.create())
        .apply(ParDo.of(new DoFn<KV<String, CoGbkResult>, String>() {
          @ProcessElement
          public void process(ProcessContext c) {
            long count = 0;
            long sum = 0;
            for (long n : c.element().getValue().getAll(left)) {
              count++;
            }
            for (long n : c.element().getValue().getAll(right)) {
              sum += n;
            }
            c.output(c.element().getKey() + " " + count + " " + sum);
          }
        }));
  }

  static PCollection<String> combine(Pipeline p) {
    PCollection<Long> all = numbers(p);
    PCollection<String> sum = all.apply(Combine.globally(Sum.ofLongs()))
        .apply("Sum", MapElements.into(TypeDescriptors.strings()).via(n -> "sum " + n));
    PCollection<String> most = all.apply(byRest()).apply(Max.longsPerKey())
        .apply("Max", MapElements.into(TypeDescriptors.strings()).via(kv -> "max " + kv.getKey() + " " + kv.getValue()));
    return PCollectionList.of(sum).and(most).apply(Flatten.pCollections());
  }

  static PCollection<String> flatten(Pipeline p) {
    PCollection<Long> all = numbers(p);
    PCollection<Long> more = all.apply(MapElements.into(TypeDescriptors.longs()).via(n -> n + 100));
    return PCollectionList.of(all).and(more).apply(Flatten.pCollections())
        .apply(Reshuffle.viaRandomKey())
        .apply(byRest())
        .apply(GroupByKey.create())
        .apply(ParDo.of(new DoFn<KV<String, Iterable<Long>>, String>() {
          @ProcessElement
          public void process(ProcessContext c) {
            long count = 0;
            long sum = 0;
            for (long n : c.element().getValue()) {
              count++;
              sum += n;
            }
            c.output(c.element().getKey() + " " + count + " " + sum);
          }
        }));
  }

  /** Three elements in a window of ten seconds, and one that comes late. */
  static PCollection<String> testStream(Pipeline p) {
    TestStream<String> script = TestStream.create(StringUtf8Coder.of())
        .addElements(at("a", 1), at("b", 2), at("c", 3))
        .advanceWatermarkTo(new Instant(10_000))
        .addElements(at("d", 4))
        .advanceWatermarkTo(new Instant(12_000))
        .advanceWatermarkToInfinity();
    return p.apply(script)
        .apply(Window.<String>into(FixedWindows.of(Duration.standardSeconds(10)))
            .triggering(AfterWatermark.pastEndOfWindow()
                .withEarlyFirings(AfterPane.elementCountAtLeast(2))
                .withLateFirings(AfterPane.elementCountAtLeast(1)))
            .withAllowedLateness(Duration.standardSeconds(20))
            .accumulatingFiredPanes())
        .apply(WithKeys.of("all"))
        .apply(GroupByKey.create())
        .apply(ParDo.of(new DoFn<KV<String, Iterable<String>>, String>() {
          @ProcessElement
          public void process(@Element KV<String, Iterable<String>> kv, PaneInfo pane, OutputReceiver<String> out) {
            StringBuilder found = new StringBuilder();
            kv.getValue().forEach(word -> found.append('+'));
            out.output(pane.getTiming() + " " + pane.getIndex() + " " + found.length() + " " + found);
          }
        }));
  }

  private static TimestampedValue<String> at(String word, long second) {
    return TimestampedValue.of(word, new Instant(second * 1000));
  }
}
