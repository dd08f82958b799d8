-- What a repeated request is known by (store/record.h, Retry), of the records whose callers named their requests. A row
-- goes with its record.
CREATE TABLE retry (
  retry_seq INTEGER PRIMARY KEY,  -- the record's place
  retry_key BLOB NOT NULL CHECK (length(retry_key) = 32)
) STRICT;

CREATE INDEX retry_by_key ON retry (retry_key);
