-- Why an answer is not simply recognized, and what it could be instead. The columns lie before the upload, which a
-- listing would otherwise read through to get at them; so the table is made anew.
CREATE TABLE record_with_reason (
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
  reason INTEGER NOT NULL,
  alternative TEXT NOT NULL,
  upload_digest BLOB NOT NULL CHECK (length(upload_digest) = 32),
  upload_bytes INTEGER NOT NULL,
  latency INTEGER NOT NULL,  -- microseconds
  -- 1 when the id was not made within a second after `time`, so that a range of times is not a range of ids
  astray INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  input BLOB NOT NULL CHECK (length(input) = 784),
  -- All NULL when the upload was not kept.
  media_type TEXT,
  upload_checksum INTEGER,
  upload BLOB
) STRICT;

INSERT INTO record_with_reason
  SELECT seq, id, time, model, model_version, file_name, label, class_name, confidence, verdict, 0, '', upload_digest,
         upload_bytes, latency, astray, checksum, input, media_type, upload_checksum, upload
  FROM record ORDER BY seq;

DROP TABLE record;
ALTER TABLE record_with_reason RENAME TO record;

CREATE INDEX record_page ON record (id, model, label, confidence);
CREATE INDEX record_file_name ON record (file_name, id);
CREATE INDEX record_astray ON record (time) WHERE astray;
