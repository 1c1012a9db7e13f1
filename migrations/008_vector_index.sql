-- The nearest in meaning among many: exact where few rows can be meant, by an index where they are many.
--
-- The index of a space is made by the gateway once the space has many vectors (its width and number are part of the
-- index, so no migration can make it): `vectors_near_<space>`, HNSW over half-precision copies. Which way a search goes
-- is decided here and not by the planner, who with a filter takes an index that passes the wanted rows by.

-- What a member sees among what others have.
CREATE INDEX vectors_by_member ON vectors (household_id, space_id, kind, member_id);
-- What the filters keep.
CREATE INDEX knowledge_by_kind ON knowledge (household_id, kind, id);
CREATE INDEX knowledge_by_time ON knowledge (household_id, created_at);

-- The unexpired rows in the scope that the filters keep, `at_most` of them (null: all).
CREATE FUNCTION kept_knowledge(
    wanted_tags text[], only_member bigint, only_kind text, since timestamptz, until timestamptz, only_document bigint,
    at_most bigint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
-- A plan for these very filters: which index keeps few is another one each time.
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT k.id FROM knowledge k
        WHERE k.household_id = current_household() AND (k.member_id IS NULL OR k.member_id = current_member())
          AND (only_member IS NULL OR k.member_id = only_member)
          AND (k.expires_at IS NULL OR k.expires_at > now())
          AND (wanted_tags = '{}' OR k.tags @> wanted_tags)
          AND (only_kind IS NULL OR k.kind = only_kind)
          AND (since IS NULL OR k.created_at >= since)
          AND (until IS NULL OR k.created_at < until)
          AND (only_document IS NULL OR k.document_id = only_document)
        LIMIT at_most);
END
$$;

-- The nearest by the space's index, ranked by the whole vectors. Fewer than there are where the wanted rows lie far from
-- the question: the index gives up after as many tuples as are set here.
CREATE FUNCTION nearest_by_index(
    space bigint, question vector, at_most integer,
    wanted_tags text[], only_member bigint, only_kind text, since timestamptz, until timestamptz,
    only_document bigint)
RETURNS TABLE (id bigint, distance double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET jit = off
-- Nothing is left to the planner but the index in its order, and a look at each row it gives.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    -- Not as settings of the function: to store those of an extension takes a superuser, and these concern no other
    -- statement of the transaction.
    PERFORM set_config('hnsw.ef_search', '200', true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.max_scan_tuples', '10000', true), set_config('hnsw.scan_mem_multiplier', '4', true);
    RETURN QUERY EXECUTE format(
        $query$
        SELECT near.ref_id, near.distance FROM (
            SELECT v.ref_id, v.embedding <=> $1 AS distance
            FROM vectors v JOIN knowledge k ON k.id = v.ref_id
            WHERE v.space_id = %1$s AND v.kind = 'knowledge'
              AND v.household_id = current_household() AND (v.member_id IS NULL OR v.member_id = current_member())
              AND ($4 IS NULL OR v.member_id = $4)
              AND (k.expires_at IS NULL OR k.expires_at > now())
              AND ($3 = '{}' OR k.tags @> $3)
              AND ($5 IS NULL OR k.kind = $5)
              AND ($6 IS NULL OR k.created_at >= $6)
              AND ($7 IS NULL OR k.created_at < $7)
              AND ($8 IS NULL OR k.document_id = $8)
            ORDER BY v.embedding::halfvec(%2$s) <=> $1::halfvec(%2$s)
            LIMIT greatest(100, 2 * $2)) AS near
        ORDER BY near.distance, near.ref_id DESC
        LIMIT $2
        $query$, space, vector_dims(question))
        USING question, at_most, wanted_tags, only_member, only_kind, since, until, only_document;
END
$$;

-- The nearest in meaning that the scope sees and the filters keep. Up to `exact_to` rows to choose from, and where there
-- is no index, the answer is exact; row-level security or a filter never makes it shorter.
--
-- `<=>` is not the trouble here, but `@>` is not leakproof, so under a policy the tags' index would not be used; the
-- policy's predicate is repeated instead.
CREATE FUNCTION nearest_knowledge(
    space bigint, question vector, at_most integer, exact_to bigint,
    wanted_tags text[] DEFAULT '{}', only_member bigint DEFAULT NULL, only_kind text DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, only_document bigint DEFAULT NULL)
RETURNS TABLE (id bigint, distance double precision)
-- Said to be few, so that who asks looks each of them up.
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
    filtered CONSTANT boolean := wanted_tags <> '{}' OR only_kind IS NOT NULL OR since IS NOT NULL OR until IS NOT NULL
        OR only_document IS NOT NULL;
    indexed CONSTANT boolean := EXISTS (
        SELECT FROM pg_index i WHERE i.indexrelid = to_regclass(format('public.vectors_near_%s', space)) AND i.indisvalid);
    kept bigint[];
    few boolean;
    ids bigint[];
    distances double precision[];
BEGIN
    IF filtered THEN
        kept := kept_knowledge(
            wanted_tags, only_member, only_kind, since, until, only_document,
            CASE WHEN indexed THEN exact_to + 1 END);
        few := cardinality(kept) <= exact_to;
    ELSE
        few := exact_to >= (
            SELECT coalesce(sum(t.entries), 0) FROM knowledge_totals t
            WHERE t.household_id = current_household() AND (t.member_id IS NULL OR t.member_id = current_member())
              AND (only_member IS NULL OR t.member_id = only_member));
    END IF;

    IF indexed AND NOT few THEN
        SELECT array_agg(n.id), array_agg(n.distance) INTO ids, distances
        FROM nearest_by_index(
            space, question, at_most, wanted_tags, only_member, only_kind, since, until, only_document) AS n;
        IF cardinality(ids) >= at_most THEN
            RETURN QUERY SELECT * FROM unnest(ids, distances);
            RETURN;
        END IF;
        IF filtered THEN
            kept := kept_knowledge(wanted_tags, only_member, only_kind, since, until, only_document, NULL);
        END IF;
    END IF;

    IF filtered THEN
        RETURN QUERY
            SELECT v.ref_id, v.embedding <=> question
            FROM unnest(kept) AS k (id)
            JOIN vectors v ON v.household_id = current_household() AND v.space_id = space AND v.kind = 'knowledge'
                          AND v.ref_id = k.id
            ORDER BY 2, 1 DESC
            LIMIT at_most;
    ELSE
        -- Apart, so that the few that a member has are found among many of another's.
        RETURN QUERY
            SELECT near.ref_id, near.distance FROM (
                SELECT v.ref_id, v.embedding <=> question AS distance FROM vectors v
                WHERE v.household_id = current_household() AND v.space_id = space AND v.kind = 'knowledge'
                  AND v.member_id IS NULL AND only_member IS NULL
                UNION ALL
                SELECT v.ref_id, v.embedding <=> question FROM vectors v
                WHERE v.household_id = current_household() AND v.space_id = space AND v.kind = 'knowledge'
                  AND v.member_id = current_member() AND (only_member IS NULL OR v.member_id = only_member)
            ) AS near
            WHERE NOT EXISTS (
                SELECT FROM knowledge e
                WHERE e.household_id = current_household() AND e.id = near.ref_id AND e.expires_at <= now())
            ORDER BY 2, 1 DESC
            LIMIT at_most;
    END IF;
END
$$;

-- The household's spaces, how many vectors of knowledge each has (counted to `count_to`), and whether there is an index
-- for it (null: none; false: half made). And indexes whose space is gone, with null for the rest. For the upkeep of the
-- indexes: it counts what all members have, and shows nothing else of it.
CREATE FUNCTION vector_indexes(count_to bigint)
RETURNS TABLE (space bigint, dimensions integer, state text, vectors bigint, whole boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH indexes AS (
        SELECT substring(c.relname FROM '^vectors_near_(\d+)$')::bigint AS space, i.indisvalid AS whole
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = 'public.vectors'::regclass AND c.relname ~ '^vectors_near_\d+$'
    )
    SELECT s.id, s.dimensions, s.state, counted.vectors, i.whole
    FROM embedding_spaces s LEFT JOIN indexes i ON i.space = s.id
    CROSS JOIN LATERAL (
        SELECT count(*) AS vectors FROM (
            SELECT FROM vectors v WHERE v.household_id = s.household_id AND v.space_id = s.id AND v.kind = 'knowledge'
            LIMIT count_to) AS v) AS counted
    WHERE s.household_id = current_household()
    UNION ALL
    SELECT i.space, NULL, NULL, NULL, i.whole FROM indexes i
    WHERE NOT EXISTS (SELECT FROM embedding_spaces s WHERE s.id = i.space)
$$;

REVOKE EXECUTE ON FUNCTION
    kept_knowledge(text[], bigint, text, timestamptz, timestamptz, bigint, bigint),
    nearest_by_index(bigint, vector, integer, text[], bigint, text, timestamptz, timestamptz, bigint),
    nearest_knowledge(bigint, vector, integer, bigint, text[], bigint, text, timestamptz, timestamptz, bigint),
    vector_indexes(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    nearest_knowledge(bigint, vector, integer, bigint, text[], bigint, text, timestamptz, timestamptz, bigint),
    vector_indexes(bigint) TO ai_gateway;
