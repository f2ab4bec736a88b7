-- Version 5 of the local database: sketches of contents that are kept, which are looked for in what may be alike (see sketch.ts).

ALTER TABLE cached ADD COLUMN sketch BLOB;
