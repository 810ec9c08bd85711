package languages;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
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
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.windowing.DefaultTrigger;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.PCollection;

/**
 * Beam programs for a portable runner. {@code --program} names one, or several with commas between, which run one after the
 * other; the lines of each go to the file of its name in the folder {@code --output}. What each must write stands in
 * tests/tests/languages/oracle.rs.
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

    @Default.String("")
    String getComponent();

    void setComponent(String component);

    @Default.String("")
    String getExpansion();

    void setExpansion(String expansion);
  }

  /** Appends each line to a file: what Beam's own writes ask of an unbounded collection would change the program. */
  static class Append extends DoFn<String, Void> {
    private final String file;

    Append(String file) {
      this.file = file;
    }

    @ProcessElement
    public void process(@Element String line) throws IOException {
      Files.writeString(Path.of(file), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
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
    PROGRAMS.put("wasm", Component::wasm);
    PROGRAMS.put("windows", Component::windows);
  }

  public static void main(String[] args) {
    PipelineOptionsFactory.register(Options.class);
    Options options = PipelineOptionsFactory.fromArgs(args).as(Options.class);
    boolean good = true;
    for (String name : options.getProgram().split(",")) {
      good &= run(name, PipelineOptionsFactory.fromArgs(args).as(Options.class));
    }
    // threads of the worker service are not daemons
    System.exit(good ? 0 : 1);
  }

  /** Runs one program; says whether it ended well. */
  private static boolean run(String name, Options options) {
    Function<Pipeline, PCollection<String>> program = PROGRAMS.get(name);
    if (program == null) {
      System.err.println("programs: " + PROGRAMS.keySet());
      return false;
    }
    options.setJobName(name.replace('_', '-'));
    Pipeline p = Pipeline.create(options);
    PCollection<String> lines = program.apply(p);
    Path file = Path.of(options.getOutput(), name);
    if (lines.isBounded() == PCollection.IsBounded.BOUNDED) {
      lines
          .apply("Whole", Window.<String>into(new GlobalWindows()).triggering(DefaultTrigger.of()).discardingFiredPanes())
          .apply(TextIO.write().to(file.toString()).withoutSharding());
    } else {
      lines.apply(ParDo.of(new Append(file.toString())));
    }
    PipelineResult result = p.run();
    PipelineResult.State state = result.waitUntilFinish();
    MetricsFilter filter =
        MetricsFilter.builder().addNameFilter(MetricNameFilter.named("languages", "seen")).build();
    // Beam lists a counter twice if a runner tells both its attempted and its committed value
    Set<String> counters = new TreeSet<>();
    for (MetricResult<Long> counter : result.metrics().queryMetrics(filter).getCounters()) {
      counters.add(name + " seen " + counter.getAttempted());
    }
    counters.forEach(System.out::println);
    if (state != PipelineResult.State.DONE) {
      System.err.println(name + " ended as " + state);
    }
    return state == PipelineResult.State.DONE;
  }
}
