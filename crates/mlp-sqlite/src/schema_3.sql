-- The state of an alert manager: one row a thing, value as the manager wrote it. epoch: one row, whose writes are taken.
CREATE TABLE alert_state (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE alert_epoch (
    epoch INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL
) STRICT;

INSERT INTO total VALUES ('alert_state', 0, 0), ('alert_epoch', 0, 0);
