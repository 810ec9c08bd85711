import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Fills and reads the topics of the Kafka demo.
 *
 * <pre>
 *   java -cp '.cache/kafka/lib/*' scripts/kafka/Topics.java create BOOTSTRAP TOPIC:PARTITIONS...
 *   ... load BOOTSTRAP TOPIC CSV   one record per line after the header: {"line": "...", "row": 1}
 *   ... read BOOTSTRAP TOPIC       the committed values, up to the end offsets seen at the start, one per line
 * </pre>
 */
public class Topics {
  public static void main(String[] args) {
    Properties config = new Properties();
    config.put("bootstrap.servers", args[1]);
    config.put("request.timeout.ms", "15000");
    config.put("default.api.timeout.ms", "20000");
    try {
      switch (args[0]) {
        case "create" -> create(config, List.of(args).subList(2, args.length));
        case "load" -> load(config, args[2], Path.of(args[3]));
        case "read" -> read(config, args[2]);
        default -> throw new IllegalArgumentException("create, load or read, not " + args[0]);
      }
    } catch (Exception error) {
      System.err.println("Topics " + String.join(" ", args) + ": " + error);
      System.exit(1);
    }
  }

  private static void create(Properties config, List<String> names) throws Exception {
    try (Admin admin = Admin.create(config)) {
      List<NewTopic> topics = new ArrayList<>();
      for (String name : names) {
        String[] parts = name.split(":");
        topics.add(new NewTopic(parts[0], Integer.parseInt(parts[1]), (short) 1));
      }
      admin.createTopics(topics).all().get();
    }
  }

  private static void load(Properties config, String topic, Path csv) throws Exception {
    config.put("enable.idempotence", "true");
    config.put("linger.ms", "50");
    config.put("max.block.ms", "20000");
    ObjectMapper json = new ObjectMapper();
    AtomicReference<Exception> failure = new AtomicReference<>();
    try (BufferedReader lines = Files.newBufferedReader(csv, StandardCharsets.UTF_8);
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      lines.readLine();
      long row = 0;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        row++;
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("line", line);
        value.put("row", row);
        producer.send(new ProducerRecord<>(topic, json.writeValueAsString(value)), (metadata, error) -> {
          if (error != null) {
            failure.compareAndSet(null, error);
          }
        });
        if (failure.get() != null) {
          throw failure.get();
        }
      }
      producer.flush();
      if (failure.get() != null) {
        throw failure.get();
      }
      System.err.println(topic + ": " + row + " records");
    }
  }

  private static void read(Properties config, String topic) {
    config.put("isolation.level", "read_committed");
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
          .map(info -> new TopicPartition(topic, info.partition())).toList();
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
          if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
            out.println(record.value());
          }
        }
      }
    }
    out.flush();
  }
}
