-- Version 4 of the local database: how fast the link to a host was, so that the next delta is made for it.

CREATE TABLE link (
  host TEXT PRIMARY KEY,
  bytes_per_second REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- The tools that a delta on its way was made with, in order, as JSON: it is made again with the same.
ALTER TABLE upload ADD COLUMN made_with TEXT NOT NULL DEFAULT '';
