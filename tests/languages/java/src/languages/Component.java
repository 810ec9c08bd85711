package languages;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.beam.model.pipeline.v1.ExternalTransforms.ExternalConfigurationPayload;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.coders.RowCoder;
import org.apache.beam.sdk.options.PortablePipelineOptions;
import org.apache.beam.sdk.schemas.Schema;
import org.apache.beam.sdk.schemas.SchemaTranslation;
import org.apache.beam.sdk.transforms.Combine;
import org.apache.beam.sdk.transforms.Count;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Flatten;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.util.construction.Environments;
import org.apache.beam.sdk.util.construction.External;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionList;
import org.apache.beam.sdk.values.Row;
import org.apache.beam.sdk.values.TimestampedValue;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;
import org.joda.time.Instant;

/** Functions of a WebAssembly component, by the expansion service. */
final class Component {
  private Component() {}

  /** What the service must know. */
  private static byte[] payload(Main.Options options, String function) {
    Schema schema =
        Schema.builder().addStringField("component").addStringField("config").addStringField("function").build();
    Row row = Row.withSchema(schema).addValues(options.getComponent(), "{\"from\": \"java\"}", function).build();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      RowCoder.of(schema).encode(row, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return ExternalConfigurationPayload.newBuilder()
        .setSchema(SchemaTranslation.schemaToProto(schema, true))
        .setPayload(ByteString.copyFrom(bytes.toByteArray()))
        .build()
        .toByteArray();
  }

  /** Applies a function of the component. */
  private static <A, B> PCollection<B> function(Main.Options options, String name, PCollection<A> input) {
    // the service is sent an environment, which it does not need; the address of a loopback worker is not known before the run
    PortablePipelineOptions environment = options.as(PortablePipelineOptions.class);
    String type = environment.getDefaultEnvironmentType();
    environment.setDefaultEnvironmentType(Environments.ENVIRONMENT_EMBEDDED);
    try {
      return input.apply(
          "Component " + name,
          External.of("thalweg:transform:wasm:v1", payload(options, name), options.getExpansion()));
    } finally {
      environment.setDefaultEnvironmentType(type);
    }
  }

  /** What a stateful function, a CombineFn and a key selector of a component give. */
  static PCollection<String> wasm(Pipeline p) {
    Main.Options options = p.getOptions().as(Main.Options.class);
    List<KV<String, String>> commands = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      commands.add(KV.of("k" + i, String.format("sum.add %d; sum.add 10; sum.get; map.put a %d; map.get a", i, i)));
    }
    PCollection<KV<String, String>> answers = function(options, "ledger", p.apply("Commands", Create.of(commands)));
    PCollection<KV<String, String>> keyed =
        function(options, "first_word", p.apply("Sentences", Create.of("to be", "or", "to do")));
    PCollection<String> told =
        answers.apply(MapElements.into(TypeDescriptors.strings()).via(kv -> kv.getKey() + " " + kv.getValue()));
    PCollection<String> words =
        keyed
            .apply(Combine.perKey(Count.<String>combineFn()))
            .apply("Words", MapElements.into(TypeDescriptors.strings()).via(kv -> kv.getKey() + " " + kv.getValue()));
    return PCollectionList.of(told).and(words).apply(Flatten.pCollections());
  }

  /** A sum with its window. */
  static class SpanLine extends DoFn<KV<String, Long>, String> {
    @ProcessElement
    public void process(@Element KV<String, Long> kv, BoundedWindow window, OutputReceiver<String> out) {
      IntervalWindow w = (IntervalWindow) window;
      out.output(kv.getKey() + " " + w.start().getMillis() + " " + w.end().getMillis() + " " + kv.getValue());
    }
  }

  private static TimestampedValue<KV<String, Long>> visit(long ms, String key, long n) {
    return TimestampedValue.of(KV.of(key, n), new Instant(ms));
  }

  /** Sums in windows of a component: sessions, which merge, and spans, of which an element has two as long as it says. */
  static PCollection<String> windows(Pipeline p) {
    Main.Options options = p.getOptions().as(Main.Options.class);
    PCollection<KV<String, Long>> visits =
        p.apply(
            "Visits",
            Create.timestamped(visit(0, "a", 5), visit(4, "a", 5), visit(8, "a", 5), visit(50, "b", 20)));
    PCollectionList<String> lines = PCollectionList.empty(p);
    for (String name : new String[] {"sessions", "spans"}) {
      PCollection<KV<String, Long>> windowed = function(options, name, visits);
      lines =
          lines.and(
              windowed
                  .apply("Sums in " + name, Sum.longsPerKey())
                  .apply("Lines of " + name, ParDo.of(new SpanLine()))
                  .apply("No more " + name, Window.into(new GlobalWindows())));
    }
    return lines.apply(Flatten.pCollections());
  }
}
