-- Version 2: what layers of images came to, and what stacks of trees look like from inside a container.

-- The tree of a layer over those below it, by the image specification's ChainID.
CREATE TABLE layer (
  chain TEXT PRIMARY KEY,
  tree TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The tree that a container sees, by the ids of the trees below it, bottom first, joined by commas.
CREATE TABLE stack (
  trees TEXT PRIMARY KEY,
  flat TEXT NOT NULL,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
