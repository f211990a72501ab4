import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/**
 * The last answer of each session, committed with its write, so that a write which the driver sends again is answered
 * again and not done again, after kill -9 too (config.transactions in MongoDB).
 */
final class Replies {
  private final MVMap<String, Document> last;
  private final ConcurrentHashMap<String, Object> sessions = new ConcurrentHashMap<>();

  Replies(MVStore store) {
    last = store.openMap("replies");
  }

  Document once(Object session, Object number, Supplier<Document> write, Commits commits) {
    if (session == null || number == null) return commits.together(write);
    String key = session.toString();
    long mine = ((Number) number).longValue();
    synchronized (sessions.computeIfAbsent(key, name -> new Object())) {
      Document before = last.get(key);
      long newest = before == null ? -1 : ((Number) before.get("number")).longValue();
      if (mine < newest) throw new MongoServerError(225, "TransactionTooOld", "a newer write of the session is known");
      if (mine == newest) return (Document) before.get("reply");
      return commits.together(
          () -> {
            Document reply = write.get();
            last.put(key, new Document("number", mine).append("reply", reply));
            return reply;
          });
    }
  }
}
