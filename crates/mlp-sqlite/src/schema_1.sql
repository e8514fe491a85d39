-- Each table has one row here: how many records it holds, and the exclusive or of their checksums.
CREATE TABLE total (
    name TEXT NOT NULL PRIMARY KEY,
    records INTEGER NOT NULL,
    digest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO total VALUES
    ('experiment', 0, 0), ('evaluation', 0, 0), ('param', 0, 0), ('tag', 0, 0),
    ('series_key', 0, 0), ('series', 0, 0), ('point', 0, 0);

CREATE TABLE experiment (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    is_deleted INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- bin: 0 in use, 1 in the bin, 2 in the bin with its experiment. Times are microseconds since 1970.
CREATE TABLE evaluation (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    experiment INTEGER NOT NULL,
    bin INTEGER NOT NULL,
    stage TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    model TEXT,
    model_version INTEGER,
    dataset_name TEXT,
    dataset_version TEXT,
    dataset_fingerprint TEXT,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX evaluation_by_start ON evaluation (bin, started_at DESC, id);
CREATE INDEX evaluation_by_experiment ON evaluation (experiment, bin, started_at DESC, id);

-- value: exact, as JSON; text: as it prints; number: where it is one, NULL for NaN.
CREATE TABLE param (
    evaluation INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    text TEXT NOT NULL,
    is_number INTEGER NOT NULL,
    number REAL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (evaluation, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
    evaluation INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (evaluation, name)
) STRICT, WITHOUT ROWID;

-- context: labels as JSON, '{}' for none.
CREATE TABLE series_key (
    n INTEGER PRIMARY KEY,
    metric TEXT NOT NULL,
    context TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (metric, context)
) STRICT;

-- summary: exact; the numbers beside it are what filters and orders read, NULL for NaN. experiment and bin are those of the evaluation.
CREATE TABLE series (
    evaluation INTEGER NOT NULL,
    key INTEGER NOT NULL,
    experiment INTEGER NOT NULL,
    bin INTEGER NOT NULL,
    is_nan INTEGER NOT NULL,
    last REAL,
    least REAL,
    greatest REAL,
    has_mean INTEGER NOT NULL,
    mean REAL,
    points INTEGER NOT NULL,
    step_of_least INTEGER,
    step_of_greatest INTEGER,
    summary BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (evaluation, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX series_by_value ON series (key, experiment, bin, is_nan, last);

-- Only of series with more than one point: a single one is its summary. value: the bits of the double, mapped to an integer that sorts as `total_cmp`.
CREATE TABLE point (
    evaluation INTEGER NOT NULL,
    key INTEGER NOT NULL,
    at INTEGER NOT NULL,
    step INTEGER NOT NULL,
    value INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (evaluation, key, at, step, value)
) STRICT, WITHOUT ROWID;
