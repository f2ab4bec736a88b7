-- The local manifest, version 1: a cache of what sources held and what hosts hold. Losing it costs time, never truth.

CREATE TABLE tree (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  manifest BLOB NOT NULL,
  indexed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Which contents stand in which tree, by the position of the file among the tree's files; filled when first asked for.
CREATE TABLE contents (
  sha256 BLOB NOT NULL,
  tree INTEGER NOT NULL REFERENCES tree (key) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  PRIMARY KEY (sha256, tree, position)
) STRICT, WITHOUT ROWID;

-- The last reading of each source: the digest of its stat facts, the tree it was, and the facts, packed (see facts.ts).
CREATE TABLE source (
  name BLOB PRIMARY KEY,
  digest BLOB NOT NULL,
  tree TEXT NOT NULL,
  facts BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What a host was last known to hold, under that host's store epoch.
CREATE TABLE host (
  name TEXT PRIMARY KEY,
  epoch TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holding (
  host TEXT NOT NULL REFERENCES host (name) ON DELETE CASCADE,
  tree TEXT NOT NULL,
  PRIMARY KEY (host, tree)
) STRICT, WITHOUT ROWID;
