import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.h2.mvstore.MVStore;

/** What the library lacks for a current driver: hello of a replica set, sessions, durable and retryable writes. */
final class Backend extends H2Backend {
  /** Of MongoDB 7.0. */
  private static final int WIRE_VERSION = 21;
  private static final Set<String> WRITES = Set.of("insert", "update", "delete", "findandmodify");
  private static final Set<String> STRUCTURE =
      Set.of("create", "drop", "dropdatabase", "renamecollection");
  private static final Set<String> SESSIONS = Set.of("endsessions", "killsessions", "refreshsessions");

  private final AtomicInteger connections = new AtomicInteger();
  private final Commits commits;
  private final Replies replies;

  Backend(MVStore store) {
    super(store);
    commits = new Commits(store);
    replies = new Replies(store);
  }

  @Override
  protected MongoDatabase openOrCreateDatabase(String name) {
    return new H2Database(name, getMvStore(), getCursorRegistry()) {
      @Override
      protected MongoCollection<Object> openOrCreateCollection(String collection, CollectionOptions options) {
        return new Collection(this, collection, options, getMvStore(), getCursorRegistry());
      }
    };
  }

  @Override
  public Document handleCommand(Channel channel, String database, String command, Document query) {
    String name = command.toLowerCase(Locale.ROOT);
    if (name.equals("hello") || name.equals("ismaster")) return hello((InetSocketAddress) channel.localAddress());
    if (name.equals("buildinfo")) return buildInfo();
    if (SESSIONS.contains(name)) return new Document("ok", 1.0);
    refuseTransactions(query);

    UnaryOperator<Document> run = asked -> super.handleCommand(channel, database, first(asked), asked);
    Indexes indexes = new Indexes(database, run);
    if (name.equals("createindexes")) return commits.alone(() -> indexes.create(query));
    if (name.equals("dropindexes")) return commits.alone(() -> indexes.drop(query));
    if (STRUCTURE.contains(name)) return commits.alone(() -> run.apply(query));
    if (name.equals("listcollections")) return named(query, run.apply(query));
    if (!WRITES.contains(name)) return run.apply(withBatchSize(name, query));
    Supplier<Document> write = () -> Statements.run(name, query, run);
    return replies.once(query.get("lsid"), query.get("txnNumber"), write, commits);
  }

  private static String first(Document query) {
    return query.keySet().iterator().next();
  }

  private Document hello(InetSocketAddress reached) {
    String address = reached.getAddress().getHostAddress() + ":" + reached.getPort();
    return new Document("helloOk", true)
        .append("ismaster", true)
        .append("isWritablePrimary", true)
        .append("secondary", false)
        .append("setName", "rs0")
        .append("setVersion", 1)
        .append("hosts", List.of(address))
        .append("me", address)
        .append("primary", address)
        .append("maxBsonObjectSize", 16 * 1024 * 1024)
        .append("maxMessageSizeBytes", 48_000_000)
        .append("maxWriteBatchSize", 100_000)
        .append("localTime", Instant.now())
        .append("logicalSessionTimeoutMinutes", 30)
        .append("connectionId", connections.incrementAndGet())
        .append("minWireVersion", 0)
        .append("maxWireVersion", WIRE_VERSION)
        .append("readOnly", false)
        .append("ok", 1.0);
  }

  private static Document buildInfo() {
    return new Document("version", "7.0.0")
        .append("versionArray", List.of(7, 0, 0, 0))
        .append("standIn", "mongo-java-server 1.47.0")
        .append("maxBsonObjectSize", 16 * 1024 * 1024)
        .append("ok", 1.0);
  }

  /** The library would answer with everything at once. */
  private static Document withBatchSize(String name, Document query) {
    if (name.equals("find")) query.putIfAbsent("batchSize", 101);
    if (name.equals("getmore")) query.putIfAbsent("batchSize", 10_000);
    return query;
  }

  /** The library lists all collections, whatever name is asked for. */
  private static Document named(Document query, Document reply) {
    Object name = query.get("filter") instanceof Document filter ? filter.get("name") : null;
    if (name instanceof String) {
      List<?> found = (List<?>) ((Document) reply.get("cursor")).get("firstBatch");
      found.removeIf(collection -> !name.equals(((Document) collection).get("name")));
    }
    return reply;
  }

  /** The library would write at once, and could not take it back. */
  private static void refuseTransactions(Document query) {
    if (query.containsKey("startTransaction") || Boolean.FALSE.equals(query.get("autocommit"))) {
      throw new MongoServerError(263, "OperationNotSupportedInTransaction", "the stand-in has no transactions");
    }
  }
}
