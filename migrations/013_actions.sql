-- What was done at home ends with the events: at most `most` rows of the household's, every member's too, that are older
-- than `before`. Says how many went.

CREATE INDEX actions_by_time ON actions (household_id, at);

CREATE FUNCTION prune_actions(before timestamptz, most integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH old AS (
        SELECT a.id FROM actions a WHERE a.household_id = current_household() AND a.at < prune_actions.before LIMIT most
    ), gone AS (
        DELETE FROM actions a USING old WHERE a.id = old.id RETURNING 1)
    SELECT count(*) FROM gone
$$;
REVOKE EXECUTE ON FUNCTION prune_actions(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_actions(timestamptz, integer) TO ai_gateway;
