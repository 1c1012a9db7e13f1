-- Takes back 006: what was measured and what changed go.

DROP FUNCTION prune_events(timestamptz, integer);
DROP FUNCTION prune_measurements(timestamptz, integer);
DROP TABLE events, measurements;
