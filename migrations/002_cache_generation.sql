-- What lets several gateways, and a Redis between them, share a household's stored answers.
--
-- `uid` tells households of different databases apart. `cache_generation` moves when stored answers are taken back: a
-- copy of an older generation, wherever it is, is looked up again in the table, where what was taken back is missing.

ALTER TABLE households ADD COLUMN uid uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE households ADD COLUMN cache_generation bigint NOT NULL DEFAULT 1;
ALTER TABLE households ADD CONSTRAINT households_uid_key UNIQUE (uid);

-- Milliseconds since 1970, or one more than before where that is more: a database restored from a backup does not come
-- to the same number again with another memory.
CREATE FUNCTION next_moment(before bigint) RETURNS bigint LANGUAGE sql VOLATILE
    RETURN greatest(before + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);

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
        UPDATE households SET memory_epoch = next_moment(memory_epoch) WHERE id = ANY (moved) RETURNING id, memory_epoch
    LOOP
        PERFORM pg_notify('memory_epoch', household.id || ':' || household.memory_epoch);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION move_own_memory_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.memory_epoch := next_moment(OLD.memory_epoch);
    PERFORM pg_notify('memory_epoch', NEW.id || ':' || NEW.memory_epoch);
    RETURN NEW;
END
$$;

-- Who writes answers holds the lock `answers_lock` shared, who takes some back holds it alone: an answer that was on its
-- way into the table is either there to be deleted, or comes with a generation that is over.
CREATE FUNCTION answers_lock(household bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN hashtextextended('answers of household ' || household, 0);

CREATE FUNCTION move_cache_generation(household bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moved bigint;
BEGIN
    -- In this order, household first: a transaction that has changed memory holds the household's row already.
    UPDATE households SET cache_generation = next_moment(cache_generation) WHERE id = household
    RETURNING cache_generation INTO moved;
    PERFORM pg_advisory_xact_lock(answers_lock(household));
    PERFORM pg_notify('cache_generation', household || ':' || moved);
END
$$;
REVOKE EXECUTE ON FUNCTION move_cache_generation(bigint) FROM PUBLIC;

-- The answers in the scope to these hashes, or to these normalised words.
CREATE FUNCTION take_back_answers(hashes text[], words text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM move_cache_generation(current_household());
    RETURN QUERY
        DELETE FROM response_cache c
        WHERE c.household_id = current_household()
          AND (c.member_id IS NULL OR c.member_id = current_member())
          AND (c.query_hash = ANY (hashes) OR c.query_text = words)
        RETURNING c.query_hash;
END
$$;

DROP FUNCTION clear_response_cache(boolean);
CREATE FUNCTION clear_response_cache(expired_only boolean) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    IF NOT expired_only THEN
        PERFORM move_cache_generation(current_household());
    END IF;
    DELETE FROM response_cache
    WHERE household_id = current_household() AND (NOT expired_only OR expires_at <= now());
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- A low score takes the answer back, whichever way it came: at once, or out of a journal.
CREATE FUNCTION take_back_low_scored() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    hash text;
BEGIN
    SELECT t.metadata ->> 'cache_key' INTO hash FROM conversations t
    WHERE t.household_id = NEW.household_id AND t.turn_id = NEW.turn_id AND t.metadata ->> 'cache_key' IS NOT NULL
    LIMIT 1;
    IF hash IS NOT NULL THEN
        PERFORM move_cache_generation(NEW.household_id);
        DELETE FROM response_cache WHERE household_id = NEW.household_id AND query_hash = hash;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER take_back_low_scored AFTER INSERT OR UPDATE OF feedback_score ON training_data
    FOR EACH ROW WHEN (NEW.feedback_score <= 2) EXECUTE FUNCTION take_back_low_scored();

REVOKE EXECUTE ON FUNCTION take_back_answers(text[], text), clear_response_cache(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_back_answers(text[], text), clear_response_cache(boolean) TO ai_gateway;
