-- Embedding spaces are built beside the one that is searched, and take its place when they are whole.

-- set_aside: left by `python -m gateway spaces use`, and so neither built nor switched to while the settings still name it.
ALTER TABLE embedding_spaces DROP CONSTRAINT embedding_spaces_state_check;
ALTER TABLE embedding_spaces ADD CONSTRAINT embedding_spaces_state_check
    CHECK (state IN ('building', 'current', 'retired', 'set_aside'));

-- How many unexpired entries the whole household has, and how many of them have no vector in this space. Runs with the
-- owner's rights: the one who builds it asks in no member's name.
CREATE FUNCTION space_progress(wanted bigint) RETURNS TABLE (entries bigint, missing bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*), count(*) FILTER (WHERE v.ref_id IS NULL)
    FROM knowledge k
    LEFT JOIN vectors v
        ON v.household_id = k.household_id AND v.space_id = wanted AND v.kind = 'knowledge' AND v.ref_id = k.id
    WHERE k.household_id = current_household() AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

-- Makes the space that is being built the current one, if nothing is missing in it; tells whether it has.
CREATE FUNCTION switch_space(wanted bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- All of them, so that two who switch at once follow one another; writers of vectors need not wait for it.
    PERFORM FROM embedding_spaces WHERE household_id = current_household() ORDER BY id FOR NO KEY UPDATE;
    IF NOT EXISTS (
        SELECT FROM embedding_spaces
        WHERE household_id = current_household() AND id = wanted AND state = 'building'
    ) OR EXISTS (
        SELECT FROM knowledge k
        WHERE k.household_id = current_household() AND (k.expires_at IS NULL OR k.expires_at > now())
          AND NOT EXISTS (
              SELECT FROM vectors v
              WHERE v.household_id = k.household_id AND v.space_id = wanted AND v.kind = 'knowledge'
                AND v.ref_id = k.id)
    ) THEN
        RETURN false;
    END IF;
    UPDATE embedding_spaces SET state = 'retired' WHERE household_id = current_household() AND state = 'current';
    UPDATE embedding_spaces SET state = 'current' WHERE household_id = current_household() AND id = wanted;
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION space_progress(bigint), switch_space(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION space_progress(bigint), switch_space(bigint) TO ai_gateway;

-- What is put into a space that is not searched changes no answer: it leaves the epoch alone, for the hours of a build.
CREATE FUNCTION move_memory_epoch_with_vectors() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    searched bigint[] := ARRAY(SELECT id FROM embedding_spaces WHERE state = 'current');
    moved bigint[];
    household record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        moved := ARRAY(SELECT DISTINCT household_id FROM new_rows WHERE space_id = ANY (searched));
    ELSIF TG_OP = 'DELETE' THEN
        moved := ARRAY(SELECT DISTINCT household_id FROM old_rows WHERE space_id = ANY (searched));
    ELSE
        moved := ARRAY(
            SELECT household_id FROM (
                (SELECT household_id, space_id, kind, ref_id, member_id, embedding FROM new_rows
                 EXCEPT ALL SELECT household_id, space_id, kind, ref_id, member_id, embedding FROM old_rows)
                UNION ALL
                (SELECT household_id, space_id, kind, ref_id, member_id, embedding FROM old_rows
                 EXCEPT ALL SELECT household_id, space_id, kind, ref_id, member_id, embedding FROM new_rows)
            ) AS changed
            WHERE space_id = ANY (searched));
    END IF;
    FOR household IN
        UPDATE households SET memory_epoch = memory_epoch + 1 WHERE id = ANY (moved) RETURNING id, memory_epoch
    LOOP
        PERFORM pg_notify('memory_epoch', household.id || ':' || household.memory_epoch);
    END LOOP;
    RETURN NULL;
END
$$;
DROP TRIGGER epoch_insert ON vectors;
DROP TRIGGER epoch_update ON vectors;
DROP TRIGGER epoch_delete ON vectors;
CREATE TRIGGER epoch_insert AFTER INSERT ON vectors REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch_with_vectors();
CREATE TRIGGER epoch_update AFTER UPDATE ON vectors REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch_with_vectors();
CREATE TRIGGER epoch_delete AFTER DELETE ON vectors REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch_with_vectors();
