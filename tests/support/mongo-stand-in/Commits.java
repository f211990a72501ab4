import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.h2.mvstore.MVStore;

/**
 * Writes that are committed before they are answered, many in one commit. A commit never falls into the middle of a
 * write: a document without its index entries would be found after kill -9.
 */
final class Commits {
  private final MVStore store;
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private final AtomicLong wanted = new AtomicLong();
  /** Guarded by the write lock. */
  private long committed;

  Commits(MVStore store) {
    this.store = store;
  }

  /** Runs a write beside others. */
  <T> T together(Supplier<T> write) {
    long mine;
    lock.readLock().lock();
    try {
      return write.get();
    } finally {
      mine = wanted.incrementAndGet();
      lock.readLock().unlock();
      commit(mine);
    }
  }

  /** Runs what must not meet any other write: changes of collections and indexes. */
  <T> T alone(Supplier<T> change) {
    lock.writeLock().lock();
    try {
      return change.get();
    } finally {
      commit(wanted.incrementAndGet());
      lock.writeLock().unlock();
    }
  }

  private void commit(long upTo) {
    lock.writeLock().lock();
    try {
      if (committed >= upTo) return;
      long all = wanted.get();
      store.commit();
      committed = all;
    } finally {
      lock.writeLock().unlock();
    }
  }
}
