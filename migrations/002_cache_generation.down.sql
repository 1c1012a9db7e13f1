DROP TRIGGER take_back_low_scored ON training_data;
DROP FUNCTION take_back_low_scored();
DROP FUNCTION take_back_answers(text[], text);
DROP FUNCTION clear_response_cache(boolean);
DROP FUNCTION move_cache_generation(bigint);
DROP FUNCTION answers_lock(bigint);

CREATE FUNCTION clear_response_cache(expired_only boolean) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM response_cache
        WHERE household_id = current_household() AND (NOT expired_only OR expires_at <= now())
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
REVOKE EXECUTE ON FUNCTION clear_response_cache(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clear_response_cache(boolean) TO ai_gateway;

CREATE OR REPLACE FUNCTION move_memory_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ignored text[] := TG_ARGV::text[];
    moved bigint[];
    household record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        moved := ARRAY(SELECT DISTINCT household_id FROM new_rows);
    ELSIF TG_OP = 'DELETE' THEN
        moved := ARRAY(SELECT DISTINCT household_id FROM old_rows);
    ELSIF TG_OP = 'UPDATE' THEN
        moved := ARRAY(
            SELECT household_id FROM (
                (SELECT n.household_id, to_jsonb(n) - ignored FROM new_rows n
                 EXCEPT ALL SELECT o.household_id, to_jsonb(o) - ignored FROM old_rows o)
                UNION ALL
                (SELECT o.household_id, to_jsonb(o) - ignored FROM old_rows o
                 EXCEPT ALL SELECT n.household_id, to_jsonb(n) - ignored FROM new_rows n)
            ) AS changed);
    ELSE
        moved := ARRAY(SELECT id FROM households);
    END IF;
    FOR household IN
        UPDATE households SET memory_epoch = memory_epoch + 1 WHERE id = ANY (moved) RETURNING id, memory_epoch
    LOOP
        PERFORM pg_notify('memory_epoch', household.id || ':' || household.memory_epoch);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION move_own_memory_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.memory_epoch := OLD.memory_epoch + 1;
    PERFORM pg_notify('memory_epoch', NEW.id || ':' || NEW.memory_epoch);
    RETURN NEW;
END
$$;

DROP FUNCTION next_moment(bigint);
ALTER TABLE households DROP COLUMN cache_generation, DROP COLUMN uid;
