import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Fills a topic with events: key, value and time of the lines of a file. Usage: Load BOOTSTRAP TOPIC PARTITIONS EVENTS_TSV
 */
public class Load {
  public static void main(String[] args) throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", args[0], "linger.ms", 20, "batch.size", 1 << 18);
    try (Admin admin = Admin.create(config)) {
      admin.createTopics(List.of(new NewTopic(args[1], Integer.parseInt(args[2]), (short) 1))).all().get();
    } catch (ExecutionException e) {
      // what is there gets more
      if (!(e.getCause() instanceof TopicExistsException)) {
        throw e;
      }
    }
    try (var lines = Files.newBufferedReader(Path.of(args[3]));
        var producer = new KafkaProducer<>(config, new StringSerializer(), new LongSerializer())) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        int first = line.indexOf('\t');
        int second = line.indexOf('\t', first + 1);
        long time = Long.parseLong(line.substring(first + 1, second));
        long value = Long.parseLong(line.substring(second + 1));
        producer.send(new ProducerRecord<>(args[1], null, time, line.substring(0, first), value));
      }
      producer.flush();
    }
  }
}
