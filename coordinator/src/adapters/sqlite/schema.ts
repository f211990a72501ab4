/**
 * The schema, as a list of migrations. `PRAGMA user_version` is the number that a database has seen. A released migration
 * is never edited.
 *
 * Tasks and outputs are ordinary tables, because rows of a kilobyte would overflow a WITHOUT ROWID tree. A receipt's
 * content is apart from its thin row, because closing a batch stamps 50,000 rows at once. Triggers maintain the counters
 * of `totals()`, so no write can forget them. STRICT makes a sum beyond 64 bits an error instead of a rounded float.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
  INSERT INTO totals (name) VALUES
    ('queued'), ('running'), ('cancelling'), ('verified'), ('failed'), ('cancelled'),
    ('receipts'), ('batched'), ('units.verified'), ('units.recorded');

  CREATE TABLE tasks (
    _id BLOB PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    requester TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    document TEXT NOT NULL,
    spec BLOB NOT NULL
  ) STRICT;
  CREATE INDEX tasks_by_age ON tasks (created_at, _id);
  CREATE INDEX tasks_by_requester ON tasks (requester, created_at, _id);
  CREATE INDEX tasks_queued ON tasks (not_before, _id) WHERE state = 'queued';
  CREATE INDEX tasks_live ON tasks (_id) WHERE state IN ('running', 'cancelling');
  CREATE INDEX tasks_unfinished ON tasks (deadline, _id) WHERE state IN ('queued', 'running', 'cancelling');
  CREATE TRIGGER tasks_count_insert AFTER INSERT ON tasks BEGIN
    UPDATE totals SET value = value + 1 WHERE name = NEW.state;
  END;
  CREATE TRIGGER tasks_count_move AFTER UPDATE OF state ON tasks WHEN NEW.state <> OLD.state BEGIN
    UPDATE totals SET value = value + iif(name = NEW.state, 1, -1) WHERE name IN (NEW.state, OLD.state);
  END;

  CREATE TABLE outputs (
    _id BLOB PRIMARY KEY NOT NULL REFERENCES tasks (_id) ON DELETE CASCADE,
    output BLOB NOT NULL
  ) STRICT;

  CREATE TABLE exo_nodes (
    _id BLOB PRIMARY KEY NOT NULL,
    wallet_address TEXT NOT NULL,
    status TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    coordinator_id TEXT NOT NULL,
    hardware TEXT NOT NULL,
    kinds TEXT NOT NULL,
    slots INTEGER NOT NULL,
    version TEXT NOT NULL,
    confirmed INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX exo_nodes_by_wallet ON exo_nodes (wallet_address, _id);
  CREATE INDEX exo_nodes_by_status ON exo_nodes (status, _id);

  CREATE TABLE standings (
    node_id BLOB NOT NULL,
    wallet_address TEXT NOT NULL,
    cap INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    faults INTEGER NOT NULL,
    PRIMARY KEY (node_id, wallet_address)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE batches (
    _id INTEGER PRIMARY KEY NOT NULL,
    root TEXT NOT NULL,
    state TEXT NOT NULL,
    units INTEGER NOT NULL,
    receipts INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    transaction_hash TEXT,
    block INTEGER,
    credits TEXT NOT NULL,
    receipt_ids TEXT NOT NULL
  ) STRICT;
  CREATE INDEX batches_unrecorded ON batches (_id) WHERE state <> 'recorded';
  CREATE TRIGGER batches_count_insert AFTER INSERT ON batches BEGIN
    UPDATE totals SET value = value + NEW.receipts WHERE name = 'batched';
    UPDATE totals SET value = value + NEW.units WHERE name = 'units.recorded' AND NEW.state = 'recorded';
  END;
  CREATE TRIGGER batches_count_move AFTER UPDATE OF state ON batches
    WHEN (NEW.state = 'recorded') <> (OLD.state = 'recorded') BEGIN
    UPDATE totals SET value = value + iif(NEW.state = 'recorded', NEW.units, -NEW.units) WHERE name = 'units.recorded';
  END;

  CREATE TABLE receipts (
    number INTEGER PRIMARY KEY NOT NULL,
    _id BLOB UNIQUE NOT NULL,
    provider TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    units INTEGER NOT NULL,
    batch_id INTEGER REFERENCES batches (_id)
  ) STRICT;
  CREATE TABLE receipt_documents (
    number INTEGER PRIMARY KEY NOT NULL REFERENCES receipts (number),
    document TEXT NOT NULL
  ) STRICT;
  CREATE INDEX receipts_by_provider ON receipts (provider, _id);
  CREATE INDEX receipts_by_batch ON receipts (batch_id, _id) WHERE batch_id IS NOT NULL;
  CREATE INDEX receipts_unbatched ON receipts (accepted_at, _id) WHERE batch_id IS NULL;
  CREATE TRIGGER receipts_count_insert AFTER INSERT ON receipts BEGIN
    UPDATE totals SET value = value + iif(name = 'receipts', 1, NEW.units) WHERE name IN ('receipts', 'units.verified');
  END;
  `,
  `
  ALTER TABLE receipts ADD COLUMN has_result INTEGER NOT NULL DEFAULT 1;
  CREATE INDEX receipts_with_result ON receipts (accepted_at, _id) WHERE has_result = 1;
  `,
  `
  ALTER TABLE exo_nodes ADD COLUMN units_per_second INTEGER;
  `,
  // Several coordinators: owners ("incarnation name"), and the quarantine for restored backups. Older tasks and nodes
  // have no living owner. Queues are read by requester, and live tasks by node. Live tasks are never more than nodes have
  // slots, so their index alone answers which owner has which.
  `
  ALTER TABLE tasks ADD COLUMN owner TEXT;
  ALTER TABLE tasks ADD COLUMN node_id BLOB;
  ALTER TABLE tasks ADD COLUMN assignment_id BLOB;
  ALTER TABLE tasks ADD COLUMN ended_at INTEGER;
  UPDATE tasks SET node_id = (
    SELECT unhex(substr(value ->> 'nodeId', 3)) FROM json_each(document, '$.assignments') WHERE value ->> 'state' = 'live'
  ) WHERE state IN ('running', 'cancelling');
  UPDATE tasks SET ended_at = coalesce(
    (SELECT max(value ->> 'endedAt') FROM json_each(document, '$.assignments')),
    iif(state = 'failed', deadline, created_at)
  ) WHERE state IN ('verified', 'failed', 'cancelled');
  DROP INDEX tasks_queued;
  CREATE INDEX tasks_queued ON tasks (requester, not_before, _id) WHERE state = 'queued';
  DROP INDEX tasks_live;
  CREATE INDEX tasks_live ON tasks (node_id, _id, owner, assignment_id) WHERE node_id IS NOT NULL;
  CREATE INDEX tasks_cancelling ON tasks (owner, _id) WHERE state = 'cancelling';
  CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;
  CREATE TRIGGER tasks_count_delete AFTER DELETE ON tasks BEGIN
    UPDATE totals SET value = value - 1 WHERE name = OLD.state;
  END;

  ALTER TABLE exo_nodes ADD COLUMN incarnation TEXT NOT NULL DEFAULT '0x';
  CREATE INDEX exo_nodes_by_coordinator ON exo_nodes (coordinator_id, _id);

  CREATE TABLE coordinators (
    _id TEXT PRIMARY KEY NOT NULL,
    incarnation TEXT NOT NULL,
    beat INTEGER NOT NULL,
    address TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE locks (_id TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE secrets (_id TEXT PRIMARY KEY NOT NULL, secret BLOB NOT NULL) STRICT, WITHOUT ROWID;

  DROP INDEX batches_unrecorded;
  ALTER TABLE batches ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
  CREATE TRIGGER batches_count_delete AFTER DELETE ON batches BEGIN
    UPDATE totals SET value = value - OLD.receipts WHERE name = 'batched';
  END;

  ALTER TABLE receipts ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
  DROP INDEX receipts_unbatched;
  CREATE INDEX receipts_unbatched ON receipts (accepted_at, _id) WHERE batch_id IS NULL AND quarantined = 0;
  CREATE INDEX receipts_quarantined ON receipts (_id) WHERE quarantined = 1;
  INSERT INTO totals (name) VALUES ('quarantined'), ('units.quarantined');
  CREATE TRIGGER receipts_count_quarantine AFTER UPDATE OF quarantined ON receipts
    WHEN NEW.quarantined <> OLD.quarantined BEGIN
    UPDATE totals SET value = value + iif(name = 'quarantined', 1, NEW.units) * iif(NEW.quarantined, 1, -1)
      WHERE name IN ('quarantined', 'units.quarantined');
  END;
  -- From this version on, receipts outlive their tasks.
  UPDATE receipt_documents SET document = json_set(document, '$.spec', '0x' || lower(hex((
    SELECT spec FROM tasks WHERE tasks._id = unhex(substr(receipt_documents.document ->> 'taskId', 3))
  ))));
  `,
  `
  CREATE INDEX batches_unrecorded ON batches (_id) WHERE state <> 'recorded';
  `,
  // The digest of a result that is a blob. Small outputs stand beside their tasks; an index over their random digests
  // would cost every result a page.
  `
  ALTER TABLE receipts ADD COLUMN blob_digest BLOB;
  UPDATE receipts SET blob_digest = (
    SELECT unhex(substr(document ->> 'resultDigest', 3)) FROM receipt_documents
    WHERE receipt_documents.number = receipts.number AND NOT EXISTS (
      SELECT 1 FROM outputs WHERE _id = unhex(substr(document ->> 'taskId', 3))
    )
  ) WHERE has_result = 1;
  CREATE INDEX receipts_by_blob ON receipts (blob_digest) WHERE blob_digest IS NOT NULL AND has_result = 1;
  `,
  // Offers by kind, as JSON. Older rows have NULL, and one rate for all kinds in units_per_second.
  `
  ALTER TABLE exo_nodes ADD COLUMN offers TEXT;
  `,
];
