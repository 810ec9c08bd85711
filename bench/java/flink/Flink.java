import java.nio.file.Path;
import java.time.Duration;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.Collector;

/**
 * W2 and W4 in Flink with RocksDB and checkpoints, exactly once, one slot.
 *
 * <p>Usage: Flink w2|w4 DATA_DIR CHECKPOINT_MS CHECKPOINT_DIR [MEMORY_MIB], the memory of RocksDB, half of it for its cache
 */
public class Flink {
  public static void main(String[] args) throws Exception {
    Configuration config = new Configuration();
    config.setString("state.backend.type", "rocksdb");
    config.setString("execution.checkpointing.dir", "file://" + args[3]);
    config.setString("execution.checkpointing.incremental", "true");
    config.setString("rest.address", "localhost");
    if (args.length > 4) {
      config.setString("state.backend.rocksdb.memory.fixed-per-slot", args[4] + "mb");
      config.setString("state.backend.rocksdb.memory.write-buffer-ratio", "0.5");
    }
    StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, config);
    env.enableCheckpointing(Long.parseLong(args[2]));
    env.getConfig().enableObjectReuse();
    var file = new org.apache.flink.core.fs.Path(Path.of(args[1]).toAbsolutePath().toString(), "events.tsv");
    DataStream<Tuple3<String, Long, Long>> events = env
        .fromSource(FileSource.forRecordStreamFormat(new TextLineInputFormat(), file).build(), WatermarkStrategy.noWatermarks(), "file")
        .map(Flink::parse).returns(Types.TUPLE(Types.STRING, Types.LONG, Types.LONG));
    DataStream<Long> counts;
    if (args[0].equals("w2")) {
      counts = events
          .assignTimestampsAndWatermarks(
              WatermarkStrategy.<Tuple3<String, Long, Long>>forBoundedOutOfOrderness(Duration.ofSeconds(10))
                  .withTimestampAssigner((event, time) -> event.f1))
          .keyBy(event -> event.f0).window(TumblingEventTimeWindows.of(Duration.ofSeconds(60))).aggregate(new Number());
    } else {
      counts = events.keyBy(event -> event.f0).process(new Count());
    }
    counts.map(new Tally()).returns(Types.LONG).sinkTo(new DiscardingSink<>());
    JobExecutionResult result = env.execute(args[0]);
    System.out.printf("rows=%s check=%s%n", result.getAccumulatorResult("rows"), result.getAccumulatorResult("check"));
    System.exit(0);
  }

  private static Tuple3<String, Long, Long> parse(String line) {
    int first = line.indexOf('\t');
    int second = line.indexOf('\t', first + 1);
    return Tuple3.of(line.substring(0, first), Long.parseLong(line.substring(first + 1, second)), Long.parseLong(line.substring(second + 1)));
  }

  public static class Tally extends RichMapFunction<Long, Long> {
    private final LongCounter rows = new LongCounter();
    private final LongCounter check = new LongCounter();

    @Override
    public void open(OpenContext context) {
      getRuntimeContext().addAccumulator("rows", rows);
      getRuntimeContext().addAccumulator("check", check);
    }

    @Override
    public Long map(Long count) {
      rows.add(1);
      check.add(count);
      return count;
    }
  }

  public static class Number implements AggregateFunction<Tuple3<String, Long, Long>, Long, Long> {
    @Override
    public Long createAccumulator() {
      return 0L;
    }

    @Override
    public Long add(Tuple3<String, Long, Long> event, Long count) {
      return count + 1;
    }

    @Override
    public Long getResult(Long count) {
      return count;
    }

    @Override
    public Long merge(Long a, Long b) {
      return a + b;
    }
  }

  public static class Count extends KeyedProcessFunction<String, Tuple3<String, Long, Long>, Long> {
    private transient ValueState<Long> seen;

    @Override
    public void open(OpenContext context) {
      seen = getRuntimeContext().getState(new ValueStateDescriptor<>("n", Types.LONG));
    }

    @Override
    public void processElement(Tuple3<String, Long, Long> event, Context context, Collector<Long> out) throws Exception {
      Long before = seen.value();
      long count = before == null ? 1 : before + 1;
      seen.update(count);
      out.collect(count);
    }
  }
}
