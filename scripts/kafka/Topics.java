import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
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
import java.util.function.Function;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Fills and reads the topics of the Kafka demo.
 *
 * <pre>
 *   java -cp '.cache/kafka/lib/*' scripts/kafka/Topics.java create BOOTSTRAP TOPIC:PARTITIONS...
 *   ... load BOOTSTRAP TOPIC CSV   one record per line after the header: {"line": "...", "row": 1}
 *   ... read BOOTSTRAP TOPIC       the committed values, up to the end offsets seen at the start, one per line
 *   ... dump BOOTSTRAP TOPIC       the same records whole: {"partition", "timestamp", "key", "value", "headers"}
 *   ... produce BOOTSTRAP TOPIC JSONL   such records, one per line; all but the value may be left out
 *   ... grow BOOTSTRAP TOPIC:PARTITIONS   more partitions
 *   ... delete BOOTSTRAP TOPIC...
 *   ... list BOOTSTRAP             the names of all topics, one per line
 *   ... offsets BOOTSTRAP GROUP    what a group has committed: {"topic", "partition", "offset"}
 * </pre>
 */
public class Topics {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) {
    Properties config = new Properties();
    config.put("bootstrap.servers", args[1]);
    config.put("request.timeout.ms", "15000");
    config.put("default.api.timeout.ms", "20000");
    try {
      switch (args[0]) {
        case "create" -> create(config, List.of(args).subList(2, args.length));
        case "load" -> load(config, args[2], Path.of(args[3]));
        case "read" -> read(config, args[2], ConsumerRecord::value);
        case "dump" -> read(config, args[2], Topics::whole);
        case "produce" -> produce(config, args[2], Path.of(args[3]));
        case "grow" -> grow(config, args[2].split(":"));
        case "delete" -> delete(config, List.of(args).subList(2, args.length));
        case "list" -> list(config);
        case "offsets" -> offsets(config, args[2]);
        default -> throw new IllegalArgumentException("there is no " + args[0]);
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

  private static void delete(Properties config, List<String> names) throws Exception {
    try (Admin admin = Admin.create(config)) {
      admin.deleteTopics(names).all().get();
    }
  }

  private static void list(Properties config) throws Exception {
    try (Admin admin = Admin.create(config)) {
      admin.listTopics().names().get().stream().sorted().forEach(System.out::println);
    }
  }

  private static void load(Properties config, String topic, Path csv) throws Exception {
    config.put("enable.idempotence", "true");
    config.put("linger.ms", "50");
    config.put("max.block.ms", "20000");
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
        producer.send(new ProducerRecord<>(topic, JSON.writeValueAsString(value)), (metadata, error) -> {
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

  private static void grow(Properties config, String[] parts) throws Exception {
    try (Admin admin = Admin.create(config)) {
      admin.createPartitions(Map.of(parts[0], NewPartitions.increaseTo(Integer.parseInt(parts[1])))).all().get();
    }
  }

  private static void offsets(Properties config, String group) throws Exception {
    try (Admin admin = Admin.create(config)) {
      var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      for (var entry : found.entrySet()) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("topic", entry.getKey().topic());
        line.put("partition", entry.getKey().partition());
        line.put("offset", entry.getValue().offset());
        System.out.println(JSON.writeValueAsString(line));
      }
    }
  }

  private static void produce(Properties config, String topic, Path records) throws Exception {
    config.put("max.block.ms", "20000");
    try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      for (String line : Files.readAllLines(records, StandardCharsets.UTF_8)) {
        JsonNode given = JSON.readTree(line);
        Integer partition = given.has("partition") ? given.get("partition").asInt() : null;
        Long timestamp = given.has("timestamp") ? given.get("timestamp").asLong() : null;
        var record = new ProducerRecord<>(topic, partition, timestamp, text(given, "key"), text(given, "value"));
        for (JsonNode header : given.path("headers")) {
          String value = text(header, "value");
          record.headers().add(text(header, "key"), value == null ? null : value.getBytes(StandardCharsets.UTF_8));
        }
        producer.send(record).get();
      }
    }
  }

  private static String text(JsonNode of, String name) {
    return of.hasNonNull(name) ? of.get(name).asText() : null;
  }

  private static String whole(ConsumerRecord<String, String> record) {
    List<Map<String, String>> headers = new ArrayList<>();
    for (Header header : record.headers()) {
      Map<String, String> named = new LinkedHashMap<>();
      named.put("key", header.key());
      named.put("value", header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8));
      headers.add(named);
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("partition", record.partition());
    line.put("timestamp", record.timestamp());
    line.put("key", record.key());
    line.put("value", record.value());
    line.put("headers", headers);
    try {
      return JSON.writeValueAsString(line);
    } catch (JsonProcessingException error) {
      throw new IllegalStateException(error);
    }
  }

  private static void read(Properties config, String topic, Function<ConsumerRecord<String, String>, String> show) {
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
            out.println(show.apply(record));
          }
        }
      }
    }
    out.flush();
  }
}
