import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
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
 *   ... serve BOOTSTRAP            one request a line from the input, until it ends: ["FILE", "read", "TOPIC"]. What the verb prints goes
 *                                  to FILE, which is made anew; then the answer is one line: ok, or error and a JSON text
 * </pre>
 */
public class Topics {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) {
    try {
      if (args[0].equals("serve")) {
        serve(args[1]);
      } else {
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        perform(args[1], args[0], List.of(args).subList(2, args.length), out);
      }
    } catch (Exception error) {
      System.err.println("Topics " + String.join(" ", args) + ": " + error);
      System.exit(1);
    }
  }

  private static void serve(String bootstrap) throws IOException {
    var answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    // what a library prints must not be taken for an answer
    System.setOut(System.err);
    var requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      List<String> words = JSON.readValue(line, new TypeReference<List<String>>() {});
      String answer = "ok";
      try (var file = new BufferedOutputStream(Files.newOutputStream(Path.of(words.get(0))));
          var out = new PrintStream(file, false, StandardCharsets.UTF_8)) {
        perform(bootstrap, words.get(1), words.subList(2, words.size()), out);
      } catch (Exception error) {
        answer = "error " + JSON.writeValueAsString(error.toString());
      }
      answers.println(answer);
    }
  }

  /** Each time with clients of its own: kept ones would believe in topics and brokers that have gone since. */
  private static void perform(String bootstrap, String verb, List<String> args, PrintStream out) throws Exception {
    Properties config = new Properties();
    config.put("bootstrap.servers", bootstrap);
    config.put("request.timeout.ms", "15000");
    config.put("default.api.timeout.ms", "20000");
    switch (verb) {
      case "create" -> create(config, args);
      case "load" -> load(config, args.get(0), Path.of(args.get(1)));
      case "read" -> read(config, args.get(0), ConsumerRecord::value, out);
      case "dump" -> read(config, args.get(0), Topics::whole, out);
      case "produce" -> produce(config, args.get(0), Path.of(args.get(1)));
      case "grow" -> grow(config, args.get(0).split(":"));
      case "delete" -> delete(config, args);
      case "list" -> list(config, out);
      case "offsets" -> offsets(config, args.get(0), out);
      default -> throw new IllegalArgumentException("there is no " + verb);
    }
    // which also flushes; a PrintStream keeps to itself that a disk is full
    if (out.checkError()) {
      throw new IOException("cannot write the output");
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

  private static void list(Properties config, PrintStream out) throws Exception {
    try (Admin admin = Admin.create(config)) {
      admin.listTopics().names().get().stream().sorted().forEach(out::println);
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

  private static void offsets(Properties config, String group, PrintStream out) throws Exception {
    try (Admin admin = Admin.create(config)) {
      var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      for (var entry : found.entrySet()) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("topic", entry.getKey().topic());
        line.put("partition", entry.getKey().partition());
        line.put("offset", entry.getValue().offset());
        out.println(JSON.writeValueAsString(line));
      }
    }
  }

  private static void produce(Properties config, String topic, Path records) throws Exception {
    config.put("max.block.ms", "20000");
    config.put("linger.ms", "0"); // one record after the other
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

  private static void read(Properties config, String topic, Function<ConsumerRecord<String, String>, String> show, PrintStream out) {
    config.put("isolation.level", "read_committed");
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
  }
}
