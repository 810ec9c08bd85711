import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * W2 and W4 in Kafka Streams, exactly once, with its RocksDB, from a topic to a topic; ends when the topic is read.
 *
 * <p>Usage: Streams w2|w4 BOOTSTRAP FROM TO STATE_DIR COMMIT_MS
 */
public class Streams {
  /** Key of the records that move stream time past the last window. */
  static final String FLUSH = "flush";

  public static void main(String[] args) throws Exception {
    String workload = args[0];
    String bootstrap = args[1];
    String from = args[2];
    AtomicLong read = new AtomicLong();
    Properties config = new Properties();
    config.put("application.id", args[3] + "-app");
    config.put("bootstrap.servers", bootstrap);
    config.put("processing.guarantee", "exactly_once_v2");
    config.put("num.stream.threads", "1");
    config.put("state.dir", args[4]);
    config.put("commit.interval.ms", args[5]);
    config.put("auto.offset.reset", "earliest");
    config.put("replication.factor", 1);
    config.put("default.key.serde", Serdes.StringSerde.class);
    config.put("default.value.serde", Serdes.LongSerde.class);
    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, Long> events = builder.<String, Long>stream(from).peek((key, value) -> read.incrementAndGet());
    Produced<String, Long> counts = Produced.with(Serdes.String(), Serdes.Long());
    if (workload.equals("w2")) {
      events.groupByKey()
          .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(60), Duration.ofSeconds(10)))
          .emitStrategy(EmitStrategy.onWindowClose())
          .count()
          .toStream((window, count) -> window.key())
          .to(args[3], counts);
    } else {
      builder.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("n"), Serdes.String(), Serdes.Long()));
      events.process(Count::new, "n").to(args[3], counts);
    }
    int partitions;
    long end;
    Map<String, Object> plain = Map.of("bootstrap.servers", bootstrap);
    try (var consumer = new KafkaConsumer<>(new HashMap<>(plain), new StringDeserializer(), new StringDeserializer())) {
      List<TopicPartition> all = consumer.partitionsFor(from).stream().map(i -> new TopicPartition(from, i.partition())).toList();
      partitions = all.size();
      end = consumer.endOffsets(all).values().stream().mapToLong(offset -> offset).sum();
    }
    try (KafkaStreams streams = new KafkaStreams(builder.build(), config)) {
      streams.start();
      await(read, end);
      if (workload.equals("w2")) {
        Thread.sleep(1100); // windows are closed at most once a second, when stream time moves
        try (var producer = new KafkaProducer<>(new HashMap<>(plain), new StringSerializer(), new LongSerializer())) {
          for (int partition = 0; partition < partitions; partition++) {
            producer.send(new ProducerRecord<>(from, partition, System.currentTimeMillis(), FLUSH, 0L));
          }
        }
        await(read, end + partitions);
      }
    }
  }

  private static void await(AtomicLong read, long count) throws InterruptedException {
    while (read.get() < count) {
      Thread.sleep(5);
    }
  }

  private static class Count implements Processor<String, Long, String, Long> {
    private ProcessorContext<String, Long> context;
    private KeyValueStore<String, Long> counts;

    @Override
    public void init(ProcessorContext<String, Long> context) {
      this.context = context;
      counts = context.getStateStore("n");
    }

    @Override
    public void process(Record<String, Long> record) {
      Long before = counts.get(record.key());
      long count = before == null ? 1 : before + 1;
      counts.put(record.key(), count);
      context.forward(record.withValue(count));
    }
  }
}
