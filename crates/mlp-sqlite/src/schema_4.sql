-- Equal values are told apart by the start, so it stands beside them in the index: ties, however many, need not be sorted.
ALTER TABLE series ADD COLUMN started_at INTEGER NOT NULL DEFAULT 0;
UPDATE series SET started_at = coalesce((SELECT started_at FROM evaluation WHERE n = series.evaluation), 0);
DROP INDEX series_by_value;
CREATE INDEX series_by_value ON series (key, experiment, bin, is_nan, last, started_at DESC);
-- For questions that name no experiment.
CREATE INDEX series_by_value_anywhere ON series (key, bin, is_nan, last, started_at DESC);
