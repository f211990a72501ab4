import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.UnaryOperator;

/** Commands on indexes as MongoDB judges them; the library looks at neither the collection nor the options. */
final class Indexes {
  private final String database;
  private final UnaryOperator<Document> run;

  Indexes(String database, UnaryOperator<Document> run) {
    this.database = database;
    this.run = run;
  }

  Document create(Document query) {
    List<Document> present = of((String) query.get("createIndexes"));
    for (Object asked : (List<?>) query.get("indexes")) check((Document) asked, present);
    return run.apply(query);
  }

  private static void check(Document asked, List<Document> present) {
    if (Boolean.TRUE.equals(asked.get("unique")) && asked.containsKey("partialFilterExpression")) {
      throw new MongoServerError(67, "CannotCreateIndex", "the stand-in has no partial unique index");
    }
    for (Document index : present) {
      boolean sameName = index.get("name").equals(asked.get("name"));
      // As text: of equal documents the order of fields counts here.
      boolean sameKey = index.get("key").toString().equals(asked.get("key").toString());
      if (sameName && !sameKey) {
        throw new MongoServerError(86, "IndexKeySpecsConflict", "an index of that name has other keys: " + index);
      }
      if (sameName != sameKey || (sameName && !sameOptions(index, asked))) {
        throw new MongoServerError(85, "IndexOptionsConflict", "the index exists with other options: " + index);
      }
    }
  }

  private static boolean sameOptions(Document index, Document asked) {
    for (String option : List.of("unique", "sparse", "expireAfterSeconds", "partialFilterExpression")) {
      Object wanted = Boolean.FALSE.equals(asked.get(option)) ? null : asked.get(option);
      if (!Objects.equals(index.get(option), wanted)) return false;
    }
    return true;
  }

  /** By key, one after the other: by name the library also forgets those of other collections. */
  Document drop(Document query) {
    String collection = (String) query.get("dropIndexes");
    Object which = query.get("index");
    if (!(which instanceof String)) return run.apply(query);
    List<Document> keys = new ArrayList<>();
    for (Document index : of(collection)) {
      Object name = index.get("name");
      if (name.equals(which) || (which.equals("*") && !name.equals("_id_"))) keys.add((Document) index.get("key"));
    }
    if (keys.isEmpty() && !which.equals("*")) {
      throw new MongoServerError(27, "IndexNotFound", "index not found with name [" + which + "]");
    }
    for (Document key : keys) run.apply(query.clone().append("index", key));
    return new Document("ok", 1.0);
  }

  private List<Document> of(String collection) {
    Document reply = run.apply(new Document("listIndexes", collection).append("$db", database));
    List<Document> found = new ArrayList<>();
    for (Object index : (Iterable<?>) ((Document) reply.get("cursor")).get("firstBatch")) found.add((Document) index);
    return found;
  }
}
