-- What the home's sensors told (numbers) and what changed there (states), to be answered in SQL. Both are the recallable
-- past: they do not move the memory epoch.

-- Named in byte order, so that the next entity is one step in the index away. `unit` is null where nobody told it.
CREATE TABLE measurements (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    entity       text COLLATE "C" NOT NULL CHECK (entity <> ''),
    time         timestamptz NOT NULL CHECK (isfinite(time)),
    value        double precision NOT NULL CHECK (value > '-Infinity' AND value < 'Infinity'),
    unit         text,
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    CONSTRAINT measurements_once UNIQUE NULLS NOT DISTINCT (household_id, entity, time, member_id)
);
CREATE INDEX measurements_by_member ON measurements (household_id, member_id) WHERE member_id IS NOT NULL;

CREATE TABLE events (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    entity       text COLLATE "C" NOT NULL CHECK (entity <> ''),
    time         timestamptz NOT NULL CHECK (isfinite(time)),
    state        text NOT NULL,
    attributes   jsonb NOT NULL DEFAULT '{}',
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    CONSTRAINT events_once UNIQUE NULLS NOT DISTINCT (household_id, entity, time, member_id)
);
CREATE INDEX events_by_member ON events (household_id, member_id) WHERE member_id IS NOT NULL;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['measurements', 'events']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY scope ON %I USING (household_id = (SELECT current_household())
                 AND (member_id IS NULL OR member_id = (SELECT current_member())))', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true)', name);
        -- Retention is the household's, whoever's the rows are: it deletes at most `most` of those before `before`, and
        -- says how many. It steps from entity to entity in the index of the constraint, and needs no other.
        EXECUTE format(
            'CREATE FUNCTION prune_%1$s(before timestamptz, most integer) RETURNS bigint
             LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $f$
                WITH RECURSIVE named AS (
                    (SELECT r.entity FROM %1$I r WHERE r.household_id = current_household() ORDER BY r.entity LIMIT 1)
                    UNION ALL
                    SELECT (SELECT r.entity FROM %1$I r
                            WHERE r.household_id = current_household() AND r.entity > named.entity
                            ORDER BY r.entity LIMIT 1)
                    FROM named WHERE named.entity IS NOT NULL
                ), old AS (
                    SELECT o.id FROM named CROSS JOIN LATERAL (
                        SELECT r.id FROM %1$I r
                        WHERE r.household_id = current_household() AND r.entity = named.entity AND r.time < before
                        LIMIT most) AS o
                    LIMIT most
                ), gone AS (
                    DELETE FROM %1$I r USING old WHERE r.id = old.id RETURNING 1)
                SELECT count(*) FROM gone
             $f$', name);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION prune_%s(timestamptz, integer) FROM PUBLIC', name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION prune_%s(timestamptz, integer) TO ai_gateway', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON measurements, events TO ai_gateway;
