-- Takes back 013: what was done at home is kept for ever again.

DROP FUNCTION prune_actions(timestamptz, integer);
DROP INDEX actions_by_time;
