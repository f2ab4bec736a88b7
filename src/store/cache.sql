-- The content cache, version 3 of the local database: packs below cache/, and where contents stand in them, compressed.

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
