-- What an evaluation has is packed into cards, so that a write changes few pages. about: its parameters (exact, as JSON) and tags.
ALTER TABLE evaluation ADD COLUMN about_checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE evaluation ADD COLUMN about BLOB NOT NULL DEFAULT x'0000';

-- n: of the evaluation, if it has any series. card: the summary of each by the number of its key.
CREATE TABLE scores (
    n INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    card BLOB NOT NULL
) STRICT;
INSERT INTO total VALUES ('scores', 0, 0);

-- The latest values in their order, one row a series: an index of what the cards hold. last: 0 for NaN.
CREATE TABLE latest_value (
    key INTEGER NOT NULL,
    experiment INTEGER NOT NULL,
    bin INTEGER NOT NULL,
    is_nan INTEGER NOT NULL,
    last REAL NOT NULL,
    started_at INTEGER NOT NULL,
    evaluation INTEGER NOT NULL,
    PRIMARY KEY (key, experiment, bin, is_nan, last, started_at DESC, evaluation)
) STRICT, WITHOUT ROWID;
