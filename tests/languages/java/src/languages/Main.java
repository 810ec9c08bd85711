package languages;

import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.io.TextIO;
import org.apache.beam.sdk.metrics.MetricNameFilter;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.MetricsFilter;
import org.apache.beam.sdk.options.Default;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.PCollection;

/**
 * Beam programs for a portable runner. One program a run: {@code --program} names it, {@code --output} the beginning of the
 * files for its lines. What each must write stands in tests/tests/languages/oracle.rs.
 */
public final class Main {
  /** Options of the programs. */
  public interface Options extends PipelineOptions {
    String getProgram();

    void setProgram(String program);

    @Default.String("")
    String getInput();

    void setInput(String input);

    String getOutput();

    void setOutput(String output);
  }

  static final Map<String, Function<Pipeline, PCollection<String>>> PROGRAMS = new TreeMap<>();

  static {
    PROGRAMS.put("wordcount", Grouping::wordcount);
    PROGRAMS.put("windowed", Grouping::windowed);
    PROGRAMS.put("sessions", Grouping::sessions);
    PROGRAMS.put("sides", Grouping::sides);
    PROGRAMS.put("cogroup", Grouping::cogroup);
    PROGRAMS.put("combine", Grouping::combine);
    PROGRAMS.put("flatten", Grouping::flatten);
    PROGRAMS.put("test_stream", Grouping::testStream);
    PROGRAMS.put("state", Stateful::states);
    PROGRAMS.put("timers", Stateful::timerFamilies);
    PROGRAMS.put("processing", Stateful::processingTimers);
    PROGRAMS.put("sdf", Stateful::splittable);
    PROGRAMS.put("checkpoint", Stateful::checkpoint);
    PROGRAMS.put("sequence", Stateful::sequence);
  }

  public static void main(String[] args) {
    PipelineOptionsFactory.register(Options.class);
    Options options = PipelineOptionsFactory.fromArgs(args).as(Options.class);
    Function<Pipeline, PCollection<String>> program = PROGRAMS.get(options.getProgram());
    if (program == null) {
      System.err.println("programs: " + PROGRAMS.keySet());
      System.exit(2);
    }
    Pipeline p = Pipeline.create(options);
    program
        .apply(p)
        .apply("Whole", Window.<String>into(new GlobalWindows()).triggering(
            org.apache.beam.sdk.transforms.windowing.DefaultTrigger.of()).discardingFiredPanes())
        .apply(TextIO.write().to(options.getOutput()).withoutSharding());
    PipelineResult result = p.run();
    PipelineResult.State state = result.waitUntilFinish();
    MetricsFilter filter =
        MetricsFilter.builder().addNameFilter(MetricNameFilter.named("languages", "seen")).build();
    for (MetricResult<Long> counter : result.metrics().queryMetrics(filter).getCounters()) {
      System.out.println("seen " + counter.getAttempted());
    }
    // threads of the worker service are not daemons
    System.exit(state == PipelineResult.State.DONE ? 0 : 1);
  }
}
