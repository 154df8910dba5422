-- The operators who resumed or cancelled a run, in order, with the machine, time and reason. This is a column of runs,
-- so a role that is allowed to record a run is also allowed to write it.
ALTER TABLE payctl.runs ADD COLUMN acts jsonb NOT NULL DEFAULT '[]';
