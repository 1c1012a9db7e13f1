-- Takes back 010: what language an entry is in is forgotten, and words are counted as if in one.

DROP FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz, bigint, text);

DROP INDEX knowledge_words_by_stem;
ALTER TABLE knowledge_words DROP COLUMN stem, DROP COLUMN language;
ALTER TABLE knowledge_totals DROP COLUMN language;
TRUNCATE knowledge_words, knowledge_totals;
ALTER TABLE knowledge_words ADD UNIQUE NULLS NOT DISTINCT (household_id, word, member_id);
ALTER TABLE knowledge_totals ADD UNIQUE NULLS NOT DISTINCT (household_id, member_id);
ALTER TABLE knowledge DROP COLUMN language;
DROP FUNCTION stem_of(text, text);
DROP FUNCTION stems_of(text);

INSERT INTO knowledge_words (household_id, member_id, word, documents)
SELECT k.household_id, k.member_id, l.word, count(*)
FROM knowledge k CROSS JOIN LATERAL unnest(tsvector_to_array(k.search)) AS l (word)
GROUP BY 1, 2, 3;
INSERT INTO knowledge_totals (household_id, member_id, entries, words)
SELECT household_id, member_id, count(*), sum(words) FROM knowledge GROUP BY 1, 2;

CREATE OR REPLACE FUNCTION count_words() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    households bigint[];
    owners bigint[];
    lexemes text[];
    changes bigint[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM knowledge_words;
        DELETE FROM knowledge_totals;
        RETURN NULL;
    END IF;

    -- Where word is null, rows are counted; where it is '', their words. No lexeme is empty.
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(c.h), array_agg(c.m), array_agg(c.w), array_agg(c.n)
        INTO households, owners, lexemes, changes FROM (
            SELECT r.household_id AS h, r.member_id AS m, l.w, sum(l.n) AS n
            FROM new_rows r CROSS JOIN LATERAL (
                SELECT unnest(tsvector_to_array(r.search)) AS w, 1 AS n UNION ALL VALUES (NULL, 1), ('', r.words)) AS l
            GROUP BY 1, 2, 3) AS c;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.h), array_agg(c.m), array_agg(c.w), array_agg(c.n)
        INTO households, owners, lexemes, changes FROM (
            SELECT r.household_id AS h, r.member_id AS m, l.w, -sum(l.n) AS n
            FROM old_rows r CROSS JOIN LATERAL (
                SELECT unnest(tsvector_to_array(r.search)) AS w, 1 AS n UNION ALL VALUES (NULL, 1), ('', r.words)) AS l
            GROUP BY 1, 2, 3) AS c;
    ELSE
        SELECT array_agg(c.h), array_agg(c.m), array_agg(c.w), array_agg(c.n)
        INTO households, owners, lexemes, changes FROM (
            SELECT r.household_id AS h, r.member_id AS m, l.w, sum(r.sign * l.n) AS n
            FROM (
                SELECT n.household_id, n.member_id, n.search, n.words, 1 AS sign
                FROM new_rows n JOIN old_rows o USING (id)
                WHERE (n.household_id, n.member_id, n.search) IS DISTINCT FROM (o.household_id, o.member_id, o.search)
                UNION ALL
                SELECT o.household_id, o.member_id, o.search, o.words, -1
                FROM new_rows n JOIN old_rows o USING (id)
                WHERE (n.household_id, n.member_id, n.search) IS DISTINCT FROM (o.household_id, o.member_id, o.search)
            ) AS r CROSS JOIN LATERAL (
                SELECT unnest(tsvector_to_array(r.search)) AS w, 1 AS n UNION ALL VALUES (NULL, 1), ('', r.words)) AS l
            GROUP BY 1, 2, 3) AS c
        WHERE c.n <> 0;
    END IF;
    IF households IS NULL THEN
        RETURN NULL;
    END IF;

    -- Less: never by an insertion, for the household or the member may be on their way out.
    DELETE FROM knowledge_words k USING unnest(households, owners, lexemes, changes) AS c (h, m, w, n)
    WHERE c.n < 0 AND k.household_id = c.h AND k.word = c.w AND k.member_id IS NOT DISTINCT FROM c.m
      AND k.documents + c.n <= 0;
    UPDATE knowledge_words k SET documents = k.documents + c.n
    FROM unnest(households, owners, lexemes, changes) AS c (h, m, w, n)
    WHERE c.n < 0 AND k.household_id = c.h AND k.word = c.w AND k.member_id IS NOT DISTINCT FROM c.m;
    INSERT INTO knowledge_words (household_id, member_id, word, documents)
    SELECT c.h, c.m, c.w, c.n
    FROM unnest(households, owners, lexemes, changes) AS c (h, m, w, n) WHERE c.n > 0 AND c.w <> ''
    ON CONFLICT (household_id, word, member_id)
        DO UPDATE SET documents = knowledge_words.documents + EXCLUDED.documents;

    UPDATE knowledge_totals t SET entries = t.entries + c.entries, words = t.words + c.words
    FROM (SELECT c.h, c.m, coalesce(sum(c.n) FILTER (WHERE c.w IS NULL), 0) AS entries,
                 coalesce(sum(c.n) FILTER (WHERE c.w = ''), 0) AS words
          FROM unnest(households, owners, lexemes, changes) AS c (h, m, w, n) WHERE c.w IS NULL OR c.w = ''
          GROUP BY 1, 2) AS c
    WHERE t.household_id = c.h AND t.member_id IS NOT DISTINCT FROM c.m;
    INSERT INTO knowledge_totals (household_id, member_id, entries, words)
    SELECT c.h, c.m, sum(c.n) FILTER (WHERE c.w IS NULL), coalesce(sum(c.n) FILTER (WHERE c.w = ''), 0)
    FROM unnest(households, owners, lexemes, changes) AS c (h, m, w, n)
    WHERE (c.w IS NULL OR c.w = '')
      AND NOT EXISTS (
          SELECT FROM knowledge_totals t WHERE t.household_id = c.h AND t.member_id IS NOT DISTINCT FROM c.m)
    GROUP BY 1, 2 HAVING sum(c.n) FILTER (WHERE c.w IS NULL) > 0;
    RETURN NULL;
END
$$;

-- Full-text search as BM25 ranks (k1 1.2, b 0.75; the inverse document frequency never negative, as in Lucene).
--
-- `@@` is not leakproof, so under a policy PostgreSQL would leave the GIN index unused; here the policy's predicate is
-- repeated instead. A word of the question stands for itself, at a discount for words that begin alike (inflected
-- languages change the end), and where there are none for words spelt alike. `score` is BM25's; `strength` what part
-- that is of the most that the question's words could give; `share` the part of the question's weight that the row has.
CREATE FUNCTION search_knowledge(
    question text, wanted_tags text[], only_member bigint, at_most integer,
    only_kind text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS TABLE (id bigint, score double precision, strength double precision, share double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER
-- One index scan a word, whatever the planner's idea of a word's frequency: it does not know which one it will be.
SET search_path = public, pg_temp SET enable_seqscan = off SET jit = off AS $$
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
                    ELSE left(lexeme, greatest(4, length(lexeme) - length(lexeme) / 4)) END AS beginning
        FROM unnest(to_tsvector('public.gateway'::regconfig, question))
        ORDER BY positions[1] LIMIT 32
    ), alike AS MATERIALIZED (
        SELECT a.term, v.word, v.documents, CASE WHEN v.word = a.term THEN 1 ELSE inflected END AS weight
        FROM asked a CROSS JOIN LATERAL (
            SELECT w.word, sum(w.documents)::double precision AS documents
            FROM knowledge_words w
            WHERE w.household_id = current_household() AND (w.member_id IS NULL OR w.member_id = current_member())
              AND w.word >= a.beginning COLLATE "C"
              AND w.word <= CASE WHEN a.size < 3 THEN a.term ELSE a.beginning || chr(1114111) END COLLATE "C"
              AND length(w.word) <= a.size + CASE WHEN a.size < 5 THEN 1 ELSE 2 END
            GROUP BY w.word
            ORDER BY w.word = a.term DESC, abs(length(w.word) - a.size), w.word
            LIMIT 16
        ) AS v
    ), variants AS MATERIALIZED (
        SELECT * FROM alike
        UNION ALL
        SELECT a.term, s.word, s.documents, s.likeness * misspelt
        FROM asked a CROSS JOIN LATERAL similar_words(a.term) AS s
        WHERE a.size >= 4 AND a.term NOT IN (SELECT alike.term FROM alike)
    ), terms AS MATERIALIZED (
        -- A word that is nowhere has the greatest weight: who asks for it is not content with the others.
        -- Where there are few entries hardly a word is rare: what share of a question is there is asked more mildly.
        SELECT a.term, ln(1 + (entries - held.n + 0.5) / (held.n + 0.5)) AS idf,
               ln(2 + entries / greatest(1, held.n)) AS mild
        FROM asked a CROSS JOIN LATERAL (
            SELECT least(entries, coalesce(sum(v.documents * v.weight), 0)) AS n FROM variants v WHERE v.term = a.term
        ) AS held
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

REVOKE EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz) TO ai_gateway;
