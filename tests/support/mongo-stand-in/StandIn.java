import de.bwaldvogel.mongo.MongoServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import org.h2.mvstore.MVStore;

/**
 * Serves MongoDB's protocol on loopback: {@code StandIn PORT [FILE]}, port 0 for any free one. Without a file the data
 * is in memory; with one an acknowledged write survives kill -9. Prints "ready PORT" once it accepts connections, and
 * ends when its standard input does, so that it never outlives the test that started it.
 */
public final class StandIn {
  public static void main(String[] args) throws IOException {
    MVStore.Builder builder = new MVStore.Builder().autoCommitDisabled();
    MVStore store = (args.length > 1 ? builder.fileName(args[1]) : builder).open();
    // Nothing reads old versions, and after kill -9 the system still writes what it was given, in order.
    store.setVersionsToKeep(0);
    store.setRetentionTime(0);

    MongoServer server = new MongoServer(new Backend(store));
    server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    System.out.println("ready " + server.getLocalAddress().getPort());

    while (System.in.read() != -1) continue;
    Runtime.getRuntime().halt(0);
  }
}
