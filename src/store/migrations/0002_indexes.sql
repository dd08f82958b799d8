-- A page is a range of ids, newest first. Each filter that may match few records has an index that ends with
-- the id, so that its page is read in order, without a sort.
CREATE INDEX record_model ON record (model, id);
CREATE INDEX record_label ON record (label, id);
CREATE INDEX record_file_name ON record (file_name, id);

-- A range of times is a range of ids but for the records that went astray: none, while the clock runs forward.
CREATE INDEX record_astray ON record (time) WHERE astray;
