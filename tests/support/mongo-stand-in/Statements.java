import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/** Write commands of several statements, whose errors the library counts otherwise than MongoDB. */
final class Statements {
  private Statements() {}

  static Document run(String command, Document query, UnaryOperator<Document> run) {
    boolean ordered = !Boolean.FALSE.equals(query.get("ordered"));
    if (command.equals("insert")) return insert(query, ordered, run);
    if (command.equals("update") && ordered) return updateUpToFirstError(query, run);
    return run.apply(query);
  }

  /** The library answers with the number that was asked for. */
  private static Document insert(Document query, boolean ordered, UnaryOperator<Document> run) {
    int asked = ((List<?>) query.get("documents")).size();
    Document reply = run.apply(query);
    List<?> errors = (List<?>) reply.get("writeErrors");
    if (errors == null) return reply;
    int first = (Integer) ((Document) errors.get(0)).get("index");
    return reply.append("n", ordered ? first : asked - errors.size());
  }

  /** The library goes on after an error. */
  private static Document updateUpToFirstError(Document query, UnaryOperator<Document> run) {
    int matched = 0;
    int modified = 0;
    List<Document> upserted = new ArrayList<>();
    List<Document> errors = new ArrayList<>();
    List<?> updates = (List<?>) query.get("updates");
    for (int index = 0; index < updates.size() && errors.isEmpty(); index++) {
      Document reply = run.apply(query.clone().append("updates", List.of(updates.get(index))));
      matched += (Integer) reply.get("n");
      modified += (Integer) reply.get("nModified");
      addAll(reply.get("upserted"), index, upserted);
      addAll(reply.get("writeErrors"), index, errors);
    }
    Document reply = new Document("n", matched).append("nModified", modified);
    if (!upserted.isEmpty()) reply.append("upserted", upserted);
    if (!errors.isEmpty()) reply.append("writeErrors", errors);
    return reply.append("ok", 1.0);
  }

  private static void addAll(Object found, int index, List<Document> to) {
    if (found == null) return;
    for (Object one : (Iterable<?>) found) to.add(((Document) one).clone().append("index", index));
  }
}
