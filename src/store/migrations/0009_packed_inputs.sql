-- An input may take fewer bytes than it has pixels (store/packed_input.h): its column no longer asks for 784. No row
-- changes, so the table is not made anew; its text does, in the way that SQLite describes for taking a CHECK away
-- (sqlite.org/lang_altertable.html, section 7). The schema's number has to be another one, for all who have read the old
-- text; counting from one on, no history has come to this.
PRAGMA writable_schema=ON;
UPDATE sqlite_schema SET sql = replace(sql, ' CHECK (length(input) = 784)', '') WHERE type = 'table' AND name = 'record';
PRAGMA schema_version=1000009;
PRAGMA writable_schema=OFF;
