import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.ArrayFilters;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import java.util.List;
import java.util.stream.Collectors;
import org.h2.mvstore.MVStore;

/** A collection that finds by _id whatever else a filter asks, and whose stored documents never change. */
final class Collection extends H2Collection {
  private Index<Object> ids;

  Collection(MongoDatabase database, String name, CollectionOptions options, MVStore store, CursorRegistry cursors) {
    super(
        database,
        name,
        options,
        store.openMap("databases." + database.getDatabaseName() + "." + name),
        store.openMap("meta." + database.getDatabaseName() + "." + name),
        cursors);
  }

  @Override
  public void addIndex(Index<Object> index) {
    super.addIndex(index);
    if (ids == null && index.getName().equals("_id_")) ids = index;
  }

  /** The library reads the whole collection unless the filter is the index's key and nothing else. */
  @Override
  protected QueryResult queryDocuments(
      Document query, Document orderBy, int skip, int limit, int batchSize, Document fields) {
    Object id = query.get("_id");
    Document byId = new Document("_id", id);
    if (id == null || id instanceof List || ids == null || !ids.canHandle(byId)) {
      return super.queryDocuments(query, orderBy, skip, limit, batchSize, fields);
    }
    Document rest = query.clone();
    rest.remove("_id");
    return matchDocuments(rest, ids.getPositions(byId), orderBy, skip, limit, batchSize, fields);
  }

  /** One by one where ids are listed: the library compares each document that it found with the whole list again. */
  @Override
  public synchronized Document updateDocuments(
      Document selector, Document update, ArrayFilters filters, boolean multi, boolean upsert, Oplog oplog) {
    Object id = selector.get("_id");
    if (!multi || upsert || !(id instanceof Document in) || !(in.get("$in") instanceof List)) {
      return super.updateDocuments(selector, update, filters, multi, upsert, oplog);
    }
    int matched = 0;
    int modified = 0;
    for (Document found : queryDocuments(selector, null, 0, 0, 0, null)) {
      Document one = selector.clone().append("_id", found.get("_id"));
      Document result = super.updateDocuments(one, update, filters, false, false, oplog);
      matched += (Integer) result.get("n");
      modified += (Integer) result.get("nModified");
    }
    return new Document("n", matched).append("nModified", modified);
  }

  /**
   * Copies: the library updates what it found in place, while another thread may be sending it to somebody, half old and
   * half new. Of a copy the store takes the finished state.
   */
  @Override
  protected QueryResult createQueryResult(List<Document> matched, int batchSize) {
    return super.createQueryResult(
        matched.stream().map(Document::cloneDeeply).collect(Collectors.toList()), batchSize);
  }
}
