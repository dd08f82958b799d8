-- Two bits of `astray` now: 1, the id was not made within a second after `time`; 2, a record with a greater id
-- arrived before. Without either, records lie in the order of their ids and of their times.
UPDATE record SET astray = astray | 2 WHERE seq IN (
  SELECT seq FROM (SELECT seq, id, max(id) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                                     AS greatest_before FROM record)
  WHERE id < greatest_before);

-- A page by time passes over what it leaves out without reading the rows.
DROP INDEX record_page;
CREATE INDEX record_page ON record (id, model, label, confidence, time, astray);

DROP INDEX record_astray;
CREATE INDEX record_astray ON record (time) WHERE astray & 1;

-- Names come in any order, so that an index by name alone dirties a page for each record that is committed. This one
-- begins anew with each 4,096 places: few pages at its end take all that comes, and who looks for a name asks for it in
-- each of these ranges, the newest first (measured: ADR 5). It has no id, for without strays the places order the ids.
DROP INDEX record_file_name;
CREATE INDEX record_file_name ON record (seq >> 12, file_name) WHERE astray = 0;
CREATE INDEX record_astray_file_name ON record (file_name, id) WHERE astray <> 0;
