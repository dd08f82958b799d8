-- Everything that is appended - records, corrections, erasures - has its place (seq) in one hash chain. Places are
-- numbered without a gap and none is used twice: what is removed leaves its place and its digest behind.
CREATE TABLE record_in_chain (
  seq INTEGER PRIMARY KEY,  -- its place
  id BLOB NOT NULL CHECK (length(id) = 16),
  time INTEGER NOT NULL,  -- microseconds since 1970, UTC
  model TEXT NOT NULL,
  model_version TEXT NOT NULL,
  file_name TEXT NOT NULL,
  subject TEXT NOT NULL,  -- empty: none was named
  label INTEGER NOT NULL,
  class_name TEXT NOT NULL,
  confidence REAL NOT NULL,
  verdict INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  alternative TEXT NOT NULL,
  upload_digest BLOB NOT NULL CHECK (length(upload_digest) = 32),
  upload_bytes INTEGER NOT NULL,
  latency INTEGER NOT NULL,  -- microseconds
  -- 1 when the id was not made within a second after `time`, so that a range of times is not a range of ids
  astray INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  link BLOB NOT NULL CHECK (length(link) = 32),
  input BLOB NOT NULL CHECK (length(input) = 784),
  -- All NULL when the upload was not kept.
  media_type TEXT,
  upload_checksum INTEGER,
  upload BLOB
) STRICT;

-- The links are computed behind this script, by the program.
INSERT INTO record_in_chain
  (id, time, model, model_version, file_name, subject, label, class_name, confidence, verdict, reason, alternative,
   upload_digest, upload_bytes, latency, astray, checksum, link, input, media_type, upload_checksum, upload)
  SELECT id, time, model, model_version, file_name, '', label, class_name, confidence, verdict, reason, alternative,
         upload_digest, upload_bytes, latency, astray, checksum, zeroblob(32), input, media_type, upload_checksum, upload
  FROM record ORDER BY seq;

DROP TABLE record;
ALTER TABLE record_in_chain RENAME TO record;

CREATE INDEX record_page ON record (id, model, label, confidence);
CREATE INDEX record_file_name ON record (file_name, id);
CREATE INDEX record_astray ON record (time) WHERE astray;
CREATE INDEX record_subject ON record (subject, id) WHERE subject <> '';

CREATE TABLE correction (
  correction_seq INTEGER PRIMARY KEY,  -- its place
  correction_id BLOB NOT NULL CHECK (length(correction_id) = 16),
  record_id BLOB NOT NULL CHECK (length(record_id) = 16),
  corrected_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
  right_label INTEGER NOT NULL,
  right_class TEXT NOT NULL,
  author TEXT NOT NULL,
  note TEXT NOT NULL,
  correction_checksum INTEGER NOT NULL,
  correction_link BLOB NOT NULL CHECK (length(correction_link) = 32)
) STRICT;

CREATE INDEX correction_of_record ON correction (record_id, correction_seq);

-- That something was erased on request, by what kind of choice and how much; never what it was.
CREATE TABLE erasure (
  erasure_seq INTEGER PRIMARY KEY,  -- its place
  erased_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
  chosen_by TEXT NOT NULL,  -- id, file_name or subject
  erased_records INTEGER NOT NULL,
  erased_corrections INTEGER NOT NULL,
  reason TEXT NOT NULL,  -- as the operator gave it
  erasure_link BLOB NOT NULL CHECK (length(erasure_link) = 32)
) STRICT;

-- What is left of a removed record or correction.
CREATE TABLE removed (
  removed_seq INTEGER PRIMARY KEY,  -- its place
  kind INTEGER NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  removed_link BLOB NOT NULL CHECK (length(removed_link) = 32)
) STRICT;

-- Where the chain that is still here begins: behind the last place before which everything was removed.
CREATE TABLE chain_start (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  start_seq INTEGER NOT NULL,
  start_link BLOB NOT NULL CHECK (length(start_link) = 32),
  expired_records INTEGER NOT NULL,  -- removed by retention, since the history began
  erased_records_in_all INTEGER NOT NULL  -- removed on request, likewise
) STRICT;

INSERT INTO chain_start VALUES (1, 0, zeroblob(32), 0, 0);
