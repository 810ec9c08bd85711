import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Waits for new committed records of a topic: says "ready", and when the last of them is there "at=" with the system's nanoseconds.
 *
 * <p>Usage: Await BOOTSTRAP TOPIC COUNT SECONDS
 */
public class Await {
  public static void main(String[] args) {
    Map<String, Object> config = Map.of("bootstrap.servers", args[0], "isolation.level", "read_committed", "fetch.max.wait.ms", 5);
    long wanted = Long.parseLong(args[2]);
    long until = System.nanoTime() + Long.parseLong(args[3]) * 1_000_000_000;
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
          .map(info -> new TopicPartition(args[1], info.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToEnd(partitions);
      partitions.forEach(consumer::position);
      System.out.println("ready");
      while (wanted > 0 && System.nanoTime() < until) {
        wanted -= consumer.poll(Duration.ofMillis(100)).count();
      }
    }
    if (wanted > 0) {
      System.out.println("missing=" + wanted);
      System.exit(1);
    }
    System.out.println("at=" + System.nanoTime());
  }
}
