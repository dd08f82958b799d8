CREATE TABLE record (
  seq INTEGER PRIMARY KEY,  -- order of arrival
  id BLOB NOT NULL CHECK (length(id) = 16),
  time INTEGER NOT NULL,  -- microseconds since 1970, UTC
  model TEXT NOT NULL,
  model_version TEXT NOT NULL,
  file_name TEXT NOT NULL,
  label INTEGER NOT NULL,
  class_name TEXT NOT NULL,
  confidence REAL NOT NULL,
  verdict INTEGER NOT NULL,
  upload_digest BLOB NOT NULL CHECK (length(upload_digest) = 32),
  upload_bytes INTEGER NOT NULL,
  latency INTEGER NOT NULL,  -- microseconds
  -- 1 when the id was not made within a second after `time`, so that a range of times is not a range of ids
  astray INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  input BLOB NOT NULL CHECK (length(input) = 784)
) STRICT;

CREATE UNIQUE INDEX record_id ON record (id);

CREATE TABLE upload (
  seq INTEGER PRIMARY KEY REFERENCES record (seq),
  media_type TEXT NOT NULL,
  upload_checksum INTEGER NOT NULL,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('created', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
