import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The time from a record to its committed result, in a pipeline that gives the count of each key whenever it changes: the n-th
 * record of a key has its result with the first count of n or more. Records are sent at a fixed rate; those of the first seconds are not counted.
 *
 * <p>Usage: Latency BOOTSTRAP FROM TO RATE SECONDS WARM_UP_SECONDS
 */
public class Latency {
  private static final int KEYS = 1000;

  private record Sent(long number, long nanos, boolean counted) {}

  public static void main(String[] args) throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", args[0], "isolation.level", "read_committed", "fetch.max.wait.ms", 5);
    double rate = Double.parseDouble(args[3]);
    long records = (long) (rate * Double.parseDouble(args[4]));
    long uncounted = (long) (rate * Double.parseDouble(args[5]));
    Map<String, Deque<Sent>> waiting = new ConcurrentHashMap<>();
    AtomicBoolean sending = new AtomicBoolean(true);
    List<Long> took = new ArrayList<>();
    Thread reader = new Thread(() -> read(config, args[2], waiting, sending, took));
    reader.start();
    Map<String, Object> producing = new HashMap<>(Map.of("bootstrap.servers", args[0], "linger.ms", 0));
    try (var producer = new KafkaProducer<>(producing, new StringSerializer(), new LongSerializer())) {
      Map<String, Long> numbers = new HashMap<>();
      long start = System.nanoTime();
      for (long i = 0; i < records; i++) {
        long due = start + (long) (i * 1e9 / rate);
        while (System.nanoTime() < due) {
          Thread.sleep(0, 200_000);
        }
        String key = "key-" + i * 7919 % KEYS;
        long number = numbers.merge(key, 1L, Long::sum);
        // its time is when it was due: a sender that is late does not flatter the result
        Sent sent = new Sent(number, due, i >= uncounted);
        waiting.computeIfAbsent(key, k -> new ArrayDeque<>());
        synchronized (waiting.get(key)) {
          waiting.get(key).add(sent);
        }
        producer.send(new ProducerRecord<>(args[1], key, 1L));
      }
    }
    sending.set(false);
    reader.join();
    long[] sorted = took.stream().mapToLong(n -> n).toArray();
    Arrays.sort(sorted);
    long missing = waiting.values().stream().mapToLong(Deque::size).sum();
    System.out.printf("records=%d missing=%d p50_ms=%.1f p99_ms=%.1f max_ms=%.1f%n", sorted.length, missing,
        part(sorted, 0.5), part(sorted, 0.99), part(sorted, 1));
  }

  private static double part(long[] sorted, double part) {
    return sorted.length == 0 ? Double.NaN : sorted[(int) Math.min(sorted.length - 1, sorted.length * part)] / 1e6;
  }

  private static void read(
      Map<String, Object> config, String topic, Map<String, Deque<Sent>> waiting, AtomicBoolean sending, List<Long> took) {
    try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new LongDeserializer())) {
      List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
          .map(info -> new TopicPartition(topic, info.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      long last = System.nanoTime();
      // what has not come 20 s after the last result will not come
      while (sending.get() || System.nanoTime() - last < 20e9 && !waiting.values().stream().allMatch(Deque::isEmpty)) {
        for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(50))) {
          last = System.nanoTime();
          Deque<Sent> of = waiting.get(record.key());
          if (of == null) {
            continue;
          }
          synchronized (of) {
            while (!of.isEmpty() && of.peek().number() <= record.value()) {
              Sent sent = of.poll();
              if (sent.counted()) {
                took.add(last - sent.nanos());
              }
            }
          }
        }
      }
    }
  }
}
