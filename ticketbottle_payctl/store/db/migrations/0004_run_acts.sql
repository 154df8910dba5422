-- Who resumed or cancelled a run, from where, when and why, in order. A column of runs: who may record a run may do so.
ALTER TABLE payctl.runs ADD COLUMN acts jsonb NOT NULL DEFAULT '[]';
