-- Takes back 014: search as in 008_vector_index.sql and 010_languages.sql.

CREATE OR REPLACE FUNCTION nearest_knowledge(
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

DROP FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz, bigint, text);

CREATE FUNCTION search_knowledge(
    question text, wanted_tags text[], only_member bigint, at_most integer,
    only_kind text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    only_document bigint DEFAULT NULL, also text DEFAULT '')
RETURNS TABLE (id bigint, score double precision, strength double precision, share double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50
-- One index scan a word, whatever the planner's idea of a word's frequency: it does not know which one it will be.
SET search_path = public, pg_temp SET enable_seqscan = off SET jit = off
-- Planned once a connection: no parameter makes another plan a better one, and planning takes as long as searching.
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    k1 CONSTANT double precision := 1.2;
    b CONSTANT double precision := 0.75;
    inflected CONSTANT double precision := 0.5;
    misspelt CONSTANT double precision := 0.8;
    -- Rows that words find. A commoner word finds none while there are rarer ones, and counts in the rank all the same.
    budget CONSTANT integer := 1500;
    bounds CONSTANT double precision[] := '{0.5,1.1,1.3,1.39,1.44,1.477,1.501,1.519,1.533,1.544}';
    entries double precision;
    average double precision;
BEGIN
    SELECT sum(t.entries), sum(t.words) / nullif(sum(t.entries), 0) INTO entries, average
    FROM knowledge_totals t
    WHERE t.household_id = current_household() AND (t.member_id IS NULL OR t.member_id = current_member());
    IF coalesce(average, 0) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT lexeme AS term, length(lexeme) AS size,
               CASE WHEN length(lexeme) < 4 THEN lexeme
                    ELSE left(lexeme, greatest(4, length(lexeme) - length(lexeme) / 4)) END AS beginning,
               bool_and(extra) AS extra
        FROM (
            SELECT lexeme, positions[1] AS place, false AS extra
            FROM unnest(to_tsvector('public.gateway'::regconfig, question))
            UNION ALL
            SELECT lexeme, positions[1], true FROM unnest(to_tsvector('public.gateway'::regconfig, also))
        ) AS given
        GROUP BY lexeme
        ORDER BY bool_and(extra), min(place) LIMIT 32
    ), spoken AS MATERIALIZED (
        SELECT DISTINCT t.language FROM knowledge_totals t
        WHERE t.household_id = current_household() AND (t.member_id IS NULL OR t.member_id = current_member())
          AND t.entries > 0 AND stems_of(t.language) IS NOT NULL
    ), stemmed AS MATERIALIZED (
        -- Few words each; `documents` of all that have the word, in whatever language.
        SELECT v.term, v.word, sum(w.documents)::double precision AS documents
        FROM (
            SELECT DISTINCT a.term, w.word
            FROM asked a CROSS JOIN spoken s CROSS JOIN LATERAL (SELECT stem_of(s.language, a.term) AS stem) AS l
            JOIN knowledge_words w
              ON w.household_id = current_household() AND (w.member_id IS NULL OR w.member_id = current_member())
             AND w.language = s.language AND w.stem = l.stem COLLATE "C" AND w.stem <> ''
        ) AS v
        JOIN knowledge_words w
          ON w.household_id = current_household() AND (w.member_id IS NULL OR w.member_id = current_member())
         AND w.word = v.word
        GROUP BY v.term, v.word
    ), alike AS MATERIALIZED (
        SELECT a.term, v.word, v.documents, v.empty, CASE WHEN v.word = a.term THEN 1 ELSE inflected END AS weight
        FROM asked a CROSS JOIN LATERAL (
            SELECT w.word, sum(w.documents)::double precision AS documents,
                   sum(w.documents) FILTER (WHERE w.stem = '') > sum(w.documents) / 2 AS empty
            FROM knowledge_words w
            WHERE w.household_id = current_household() AND (w.member_id IS NULL OR w.member_id = current_member())
              AND w.word >= a.beginning COLLATE "C"
              AND w.word <= CASE WHEN a.size < 3 THEN a.term ELSE a.beginning || chr(1114111) END COLLATE "C"
              AND length(w.word) <= a.size + CASE WHEN a.size < 5 THEN 1 ELSE 2 END
            GROUP BY w.word
            ORDER BY w.word = a.term DESC, abs(length(w.word) - a.size), w.word
            LIMIT 16
        ) AS v
    ), telling AS MATERIALIZED (
        SELECT a.term, a.size, a.extra FROM asked a
        WHERE a.term NOT IN (SELECT e.term FROM alike e WHERE e.word = e.term AND e.empty)
           OR (SELECT count(*) FROM asked) = (SELECT count(*) FROM alike e WHERE e.word = e.term AND e.empty)
    ), known AS MATERIALIZED (
        SELECT v.term, v.word, max(v.documents) AS documents, max(v.weight) AS weight
        FROM (
            SELECT s.term, s.word, s.documents, 1 AS weight FROM stemmed s
            UNION ALL SELECT e.term, e.word, e.documents, e.weight FROM alike e
        ) AS v JOIN telling USING (term)
        GROUP BY v.term, v.word
    ), variants AS MATERIALIZED (
        SELECT * FROM known
        UNION ALL
        SELECT a.term, s.word, s.documents, s.likeness * misspelt
        FROM telling a CROSS JOIN LATERAL similar_words(a.term) AS s
        WHERE a.size >= 4 AND NOT a.extra AND a.term NOT IN (SELECT known.term FROM known)
    ), terms AS MATERIALIZED (
        -- A word that is nowhere has the greatest weight: who asks for it is not content with the others. One that was
        -- only added to the question does not count then.
        -- Where there are few entries hardly a word is rare: what share of a question is there is asked more mildly.
        SELECT a.term, ln(1 + (entries - held.n + 0.5) / (held.n + 0.5)) AS idf,
               ln(2 + entries / greatest(1, held.n)) AS mild
        FROM telling a CROSS JOIN LATERAL (
            SELECT least(entries, coalesce(sum(v.documents * v.weight), 0)) AS n FROM variants v WHERE v.term = a.term
        ) AS held
        WHERE held.n > 0 OR NOT a.extra
    ), words AS MATERIALIZED (
        SELECT v.term, v.weight, v.documents, v.query, v.place, v.running <= budget AS rare,
               CASE WHEN v.place = 1 AND v.running > budget THEN lead(v.query) OVER by_rarity END AS beside
        FROM (
            SELECT v.term, v.weight, v.documents, v.word,
                   ('''' || replace(replace(v.word, '\', '\\'), '''', '''''') || '''')::tsquery AS query,
                   sum(v.documents) OVER by_rarity AS running, row_number() OVER by_rarity AS place
            FROM variants v
            WINDOW by_rarity AS (ORDER BY v.documents, v.word, v.term)
        ) AS v
        WINDOW by_rarity AS (ORDER BY v.place)
    ), finders AS (
        SELECT w.place, w.term, w.weight, w.query, w.query AS finder, budget AS most FROM words w WHERE w.rare
        UNION ALL
        -- All are common: those that have the two rarest, and some that have the rarest.
        SELECT w.place, w.term, w.weight, w.query, w.query && w.beside, budget FROM words w WHERE w.beside IS NOT NULL
        UNION ALL
        SELECT w.place, w.term, w.weight, w.query, w.query, budget / 3 FROM words w WHERE w.place = 1 AND NOT w.rare
    ), hits AS MATERIALIZED (
        -- How often a row has a word cannot be asked directly, but of one word ts_rank gives the sum of 1/i² over its
        -- occurrences, divided by pi²/6: the bounds lie between those sums for 1 to 10.
        SELECT k.id, min(k.words) AS words, f.place, f.term, f.weight, max(width_bucket(k.rank, bounds)) AS times
        FROM finders f CROSS JOIN LATERAL (
            SELECT k.id, k.words, 1.64493406685 * ts_rank('{1,1,1,1}', k.search, f.query) AS rank FROM knowledge k
            WHERE k.search @@ f.finder
              -- `+ 0`, and tags after an OR: the words' index finds the rows, without a bitmap of all that are there.
              AND k.household_id + 0 = current_household()
              AND (k.member_id IS NULL OR k.member_id = current_member())
              AND (only_member IS NULL OR k.member_id = only_member)
              AND (k.expires_at IS NULL OR k.expires_at > now())
              AND (wanted_tags = '{}' OR k.tags @> wanted_tags)
              AND (only_kind IS NULL OR k.kind = only_kind)
              AND (since IS NULL OR k.created_at >= since)
              AND (until IS NULL OR k.created_at < until)
              AND (only_document IS NULL OR k.document_id = only_document)
            LIMIT f.most
        ) AS k
        GROUP BY k.id, f.place, f.term, f.weight
    ), best AS MATERIALIZED (
        -- What the common words add is little: it is reckoned for those alone that the rare ones put in front.
        SELECT h.id, min(h.words) AS words
        FROM hits h JOIN terms t USING (term)
        GROUP BY h.id
        ORDER BY sum(t.idf * h.weight * h.times / (h.times + 1)) DESC, h.id DESC
        LIMIT CASE WHEN (SELECT bool_or(w.rare) FROM words w) THEN greatest(200, 2 * at_most) ELSE budget END
    ), held AS (
        SELECT h.id, min(h.words) AS words, h.term, max(h.weight) AS weight, sum(h.weight * h.times) AS times
        FROM (
            SELECT b.id, b.words, h.term, h.weight, h.times FROM hits h JOIN best b USING (id)
            UNION ALL
            SELECT b.id, b.words, w.term, w.weight,
                   width_bucket(1.64493406685 * ts_rank('{1,1,1,1}', k.search, w.query), bounds)
            FROM best b
            -- setweight unpacks a long row's words once, not once a word asked for.
            CROSS JOIN LATERAL (
                SELECT setweight(k.search, 'D') AS search FROM knowledge k WHERE k.id = b.id OFFSET 0) AS k
            JOIN words w ON NOT w.rare AND w.place > 1 AND k.search @@ w.query
        ) AS h
        GROUP BY h.id, h.term
    ), ranked AS (
        SELECT h.id, sum(t.idf * h.times * (k1 + 1) / (h.times + k1 * (1 - b + b * h.words / average))) AS score,
               sum(t.mild * h.weight) AS weight
        FROM held h JOIN terms t USING (term)
        GROUP BY h.id
    )
    SELECT r.id, r.score, r.score / (whole.idf * (k1 + 1)), r.weight / whole.mild
    FROM ranked r CROSS JOIN (SELECT sum(t.idf) AS idf, sum(t.mild) AS mild FROM terms t) AS whole
    ORDER BY 2 DESC, 1 DESC
    LIMIT at_most;
END
$$;

REVOKE EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz, bigint, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz, bigint, text)
    TO ai_gateway;
