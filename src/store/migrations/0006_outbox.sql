-- Other stores that the history is carried to (store/outbox.h).
CREATE TABLE destination (
  destination TEXT PRIMARY KEY,
  settled_seq INTEGER NOT NULL  -- every entry up to this place is there for good, or a dead letter
) STRICT, WITHOUT ROWID;

-- Entries that a destination will never take.
CREATE TABLE dead_letter (
  destination TEXT NOT NULL,
  dead_seq INTEGER NOT NULL,  -- the entry's place
  refused_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
  why TEXT NOT NULL,
  PRIMARY KEY (destination, dead_seq)
) STRICT, WITHOUT ROWID;

-- Records that were erased here on request and may still be at a destination: what finds them there.
CREATE TABLE withdrawal (
  destination TEXT NOT NULL,
  record_id BLOB NOT NULL CHECK (length(record_id) = 16),
  model TEXT NOT NULL,
  time INTEGER NOT NULL,  -- microseconds since 1970, UTC
  file_name TEXT NOT NULL,
  PRIMARY KEY (destination, record_id)
) STRICT, WITHOUT ROWID;
