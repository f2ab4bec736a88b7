-- Version 3 of the local database: the content cache, that is packs below cache/, and where contents stand in them, compressed.

CREATE TABLE pack (
  key INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  bytes INTEGER NOT NULL,
  used INTEGER NOT NULL
) STRICT;

CREATE TABLE cached (
  sha256 BLOB PRIMARY KEY,
  pack INTEGER NOT NULL REFERENCES pack (key) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX cached_pack ON cached (pack);

-- Deltas on their way to a host's spool: what a lost connection left there is gone on with. The owner is a process.
CREATE TABLE upload (
  host TEXT NOT NULL,
  delta TEXT NOT NULL,
  name TEXT NOT NULL,
  owner INTEGER NOT NULL,
  PRIMARY KEY (host, delta)
) STRICT, WITHOUT ROWID;
