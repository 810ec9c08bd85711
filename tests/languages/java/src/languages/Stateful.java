package languages;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.io.GenerateSequence;
import org.apache.beam.sdk.io.range.OffsetRange;
import org.apache.beam.sdk.state.BagState;
import org.apache.beam.sdk.state.CombiningState;
import org.apache.beam.sdk.state.MapState;
import org.apache.beam.sdk.state.SetState;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.Timer;
import org.apache.beam.sdk.state.TimerMap;
import org.apache.beam.sdk.state.TimerSpec;
import org.apache.beam.sdk.state.TimerSpecs;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.FlatMapElements;
import org.apache.beam.sdk.transforms.Impulse;
import org.apache.beam.sdk.transforms.Max;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.WithKeys;
import org.apache.beam.sdk.transforms.splittabledofn.ManualWatermarkEstimator;
import org.apache.beam.sdk.transforms.splittabledofn.RestrictionTracker;
import org.apache.beam.sdk.transforms.splittabledofn.WatermarkEstimators;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.joda.time.Duration;
import org.joda.time.Instant;

/** Programs with state, timers and splittable functions. */
final class Stateful {
  private Stateful() {}

  /** Keeps of a key all kinds of state, and tells them at the end of its window. */
  static class EveryState extends DoFn<KV<String, Long>, String> {
    @StateId("key") private final StateSpec<ValueState<String>> keySpec = StateSpecs.value();
    @StateId("sum") private final StateSpec<ValueState<Long>> sumSpec = StateSpecs.value();
    @StateId("all") private final StateSpec<BagState<Long>> allSpec = StateSpecs.bag();
    @StateId("kinds") private final StateSpec<SetState<Long>> kindsSpec = StateSpecs.set();
    @StateId("count") private final StateSpec<MapState<Long, Long>> countSpec = StateSpecs.map();
    @StateId("most") private final StateSpec<CombiningState<Long, long[], Long>> mostSpec =
        StateSpecs.combining(Max.ofLongs());
    @TimerId("end") private final TimerSpec end = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    @ProcessElement
    public void process(
        @Element KV<String, Long> kv, BoundedWindow window,
        @StateId("key") ValueState<String> key, @StateId("sum") ValueState<Long> sum,
        @StateId("all") BagState<Long> all, @StateId("kinds") SetState<Long> kinds,
        @StateId("count") MapState<Long, Long> count,
        @StateId("most") CombiningState<Long, long[], Long> most, @TimerId("end") Timer end) {
      long n = kv.getValue();
      Long before = sum.read();
      key.write(kv.getKey());
      sum.write((before == null ? 0 : before) + n);
      all.add(n);
      kinds.add(n % 3);
      Long slot = count.get(n % 5).read();
      count.put(n % 5, (slot == null ? 0 : slot) + 1);
      most.add(n);
      end.set(window.maxTimestamp());
    }

    @OnTimer("end")
    public void tell(
        @StateId("key") ValueState<String> key, @StateId("sum") ValueState<Long> sum,
        @StateId("all") BagState<Long> all, @StateId("kinds") SetState<Long> kinds,
        @StateId("count") MapState<Long, Long> count,
        @StateId("most") CombiningState<Long, long[], Long> most, OutputReceiver<String> out) {
      int bag = 0;
      for (long n : all.read()) {
        bag++;
      }
      TreeSet<Long> sorted = new TreeSet<>();
      kinds.read().forEach(sorted::add);
      StringBuilder shown = new StringBuilder();
      sorted.forEach(kind -> shown.append(shown.length() == 0 ? "" : " ").append(kind));
      TreeMap<Long, Long> slots = new TreeMap<>();
      count.entries().read().forEach(entry -> slots.put(entry.getKey(), entry.getValue()));
      List<String> counts = new ArrayList<>();
      slots.forEach((slot, n) -> counts.add(slot + "=" + n));
      out.output(key.read() + " sum " + sum.read() + " all " + bag + " kinds [" + shown + "] counts "
          + String.join(",", counts) + " most " + most.read());
    }
  }

  static PCollection<String> states(Pipeline p) {
    return Grouping.keyed(p).apply(ParDo.of(new EveryState()));
  }

  /** Sets event-time timers of two families, one of them with two tags. */
  static class Families extends DoFn<KV<String, Long>, String> {
    @TimerFamily("first") private final TimerSpec first = TimerSpecs.timerMap(TimeDomain.EVENT_TIME);
    @TimerFamily("second") private final TimerSpec second = TimerSpecs.timerMap(TimeDomain.EVENT_TIME);

    @ProcessElement
    public void process(
        BoundedWindow window, @TimerFamily("first") TimerMap first, @TimerFamily("second") TimerMap second) {
      first.set("x", window.maxTimestamp());
      first.set("y", window.maxTimestamp());
      second.set("z", window.maxTimestamp());
      second.get("z").clear();
      second.set("", window.maxTimestamp());
    }

    @OnTimerFamily("first")
    public void onFirst(@Key String key, @TimerId String tag, BoundedWindow w, OutputReceiver<String> out) {
      tell(key, "first", tag, w, out);
    }

    @OnTimerFamily("second")
    public void onSecond(@Key String key, @TimerId String tag, BoundedWindow w, OutputReceiver<String> out) {
      tell(key, "second", tag, w, out);
    }

    private void tell(String key, String family, String tag, BoundedWindow w, OutputReceiver<String> out) {
      long start = ((IntervalWindow) w).start().getMillis() / 1000;
      out.output(key + " " + start + " " + family + " \"" + tag + "\"");
    }
  }

  static PCollection<String> timerFamilies(Pipeline p) {
    return Grouping.keyed(p)
        .apply(Window.into(FixedWindows.of(Duration.standardSeconds(50))))
        .apply(ParDo.of(new Families()));
  }

  /** Sets one processing-time timer per key, which sets itself again twice. */
  static class Once extends DoFn<KV<String, Long>, String> {
    @StateId("rounds") private final StateSpec<ValueState<Long>> roundsSpec = StateSpecs.value();
    @TimerId("soon") private final TimerSpec soon = TimerSpecs.timer(TimeDomain.PROCESSING_TIME);

    @ProcessElement
    public void process(@StateId("rounds") ValueState<Long> rounds, @TimerId("soon") Timer soon) {
      if (rounds.read() == null) {
        rounds.write(0L);
        soon.offset(Duration.millis(50)).setRelative();
      }
    }

    @OnTimer("soon")
    public void again(
        @Key String key, @StateId("rounds") ValueState<Long> rounds, @TimerId("soon") Timer soon,
        OutputReceiver<String> out) {
      long round = rounds.read();
      out.output(key + " " + round);
      if (round < 2) {
        rounds.write(round + 1);
        soon.offset(Duration.millis(50)).setRelative();
      }
    }
  }

  static PCollection<String> processingTimers(Pipeline p) {
    return Grouping.keyed(p).apply(ParDo.of(new Once()));
  }

  /** Counts 50 numbers from each base on. */
  static class Ranges extends DoFn<Long, String> {
    @GetInitialRestriction
    public OffsetRange initial(@Element Long base) {
      return new OffsetRange(base, base + 50);
    }

    @ProcessElement
    public void process(RestrictionTracker<OffsetRange, Long> tracker, OutputReceiver<String> out) {
      for (long at = tracker.currentRestriction().getFrom(); tracker.tryClaim(at); at++) {
        out.output(Long.toString(at));
      }
    }
  }

  static PCollection<String> splittable(Pipeline p) {
    return p.apply(Impulse.create())
        .apply(FlatMapElements.into(TypeDescriptors.longs()).via(none -> List.of(0L, 1000L)))
        .apply(ParDo.of(new Ranges()));
  }

  /** Gives ten numbers at a time and asks to be called again; its watermark follows them. */
  @DoFn.UnboundedPerElement
  static class Slow extends DoFn<byte[], KV<String, Long>> {
    @GetInitialRestriction
    public OffsetRange initial() {
      return new OffsetRange(0, 100);
    }

    @GetInitialWatermarkEstimatorState
    public Instant watermark() {
      return new Instant(0);
    }

    @NewWatermarkEstimator
    public WatermarkEstimators.Manual estimator(@WatermarkEstimatorState Instant state) {
      return new WatermarkEstimators.Manual(state);
    }

    @ProcessElement
    public ProcessContinuation process(
        RestrictionTracker<OffsetRange, Long> tracker, ManualWatermarkEstimator<Instant> estimator,
        OutputReceiver<KV<String, Long>> out) {
      long start = tracker.currentRestriction().getFrom();
      for (long at = start; at < start + 10; at++) {
        if (!tracker.tryClaim(at)) {
          return ProcessContinuation.stop();
        }
        out.outputWithTimestamp(KV.of("all", at), new Instant(at * 1000));
        estimator.setWatermark(new Instant(at * 1000));
      }
      return ProcessContinuation.resume().withResumeDelay(Duration.millis(5));
    }
  }

  static PCollection<String> checkpoint(Pipeline p) {
    return p.apply(Impulse.create())
        .apply(ParDo.of(new Slow()))
        .apply(Window.into(FixedWindows.of(Duration.standardSeconds(25))))
        .apply(Sum.longsPerKey())
        .apply(ParDo.of(new Grouping.WindowLine(false)));
  }

  /** An UnboundedSource that ends because of its bound on records. */
  static PCollection<String> sequence(Pipeline p) {
    return p.apply(GenerateSequence.from(0).to(100).withTimestampFn(n -> new Instant(n * 1000)))
        .apply(WithKeys.of("all"))
        .apply(Window.into(FixedWindows.of(Duration.standardSeconds(25))))
        .apply(Sum.longsPerKey())
        .apply(ParDo.of(new Grouping.WindowLine(false)));
  }
}
