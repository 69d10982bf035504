import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.transport.Netty4Plugin;

/**
 * Elasticsearch as one node on loopback, from its jars alone: no launcher, no modules, no security.
 * Arguments: directory for everything that lasts, HTTP port, transport port.
 */
final class Node extends org.elasticsearch.node.Node {
  private Node(Settings settings) {
    super(
        InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "mall"),
        List.of(Netty4Plugin.class),
        true);
  }

  public static void main(String[] args) throws Exception {
    Path home = Path.of(args[0]);
    Settings.Builder settings = Settings.builder();
    settings.put("cluster.name", "mall").put("discovery.type", "single-node");
    settings.put("path.home", home).put("path.data", home.resolve("data")).put("path.logs", home.resolve("logs"));
    settings.put("network.host", "127.0.0.1").put("http.port", args[1]).put("transport.port", args[2]);
    settings.put("http.type", "netty4").put("transport.type", "netty4");
    // A full disk is the tests' own affair.
    settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
    Node node = new Node(settings.build());
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(
        new Thread(
            () -> {
              try {
                node.close();
              } catch (Exception error) {
                error.printStackTrace();
              }
              ended.countDown();
            }));
    node.start();
    ended.await();
  }
}
