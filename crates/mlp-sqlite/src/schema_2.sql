-- One row an entry of the chain. event: canonical JSON; record: the id that it is about; model: of records only.
CREATE TABLE lineage_entry (
    sequence INTEGER PRIMARY KEY,
    previous BLOB,
    hash BLOB NOT NULL,
    record BLOB NOT NULL,
    is_record INTEGER NOT NULL,
    model TEXT,
    event TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX lineage_entry_by_record ON lineage_entry (record, is_record);
CREATE INDEX lineage_entry_by_model ON lineage_entry (model, is_record);

-- What the graph is walked by: nodes numbered in the order in which they became known, name as JSON.
CREATE TABLE lineage_node (
    n INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE lineage_edge (
    child INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;
CREATE INDEX lineage_edge_by_parent ON lineage_edge (parent, child);

-- last: the greatest number that was ever given.
CREATE TABLE registered_model (
    name TEXT NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE model_version (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    entry TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE model_alias (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (model, alias)
) STRICT, WITHOUT ROWID;
CREATE TABLE protected_alias (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (model, alias)
) STRICT, WITHOUT ROWID;
CREATE TABLE alias_move (
    n INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    entry TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX alias_move_by_model ON alias_move (model, n);
CREATE TABLE stage_move (
    n INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    entry TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX stage_move_by_model ON stage_move (model, n);

INSERT INTO total VALUES
    ('lineage_entry', 0, 0), ('lineage_node', 0, 0), ('lineage_edge', 0, 0), ('registered_model', 0, 0),
    ('model_version', 0, 0), ('model_alias', 0, 0), ('protected_alias', 0, 0), ('alias_move', 0, 0), ('stage_move', 0, 0);
