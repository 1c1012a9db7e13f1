-- Words by the language of the entry that has them: their stems, and which of them say nothing.
--
-- An entry's lexemes stay its words as they are: completing what is typed, and finding what is misspelt, needs words.
-- Stems are kept of the vocabulary instead, which is far smaller, and a word that is asked for stands for all that have
-- its stem. That finds what lexemes cut to stems would.

-- What stems a language, by its two letters; null where PostgreSQL cannot.
CREATE FUNCTION stems_of(language text) RETURNS regdictionary LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE language
        WHEN 'ar' THEN 'pg_catalog.arabic_stem'::regdictionary
        WHEN 'ca' THEN 'pg_catalog.catalan_stem'::regdictionary
        WHEN 'da' THEN 'pg_catalog.danish_stem'::regdictionary
        WHEN 'de' THEN 'pg_catalog.german_stem'::regdictionary
        WHEN 'el' THEN 'pg_catalog.greek_stem'::regdictionary
        WHEN 'en' THEN 'pg_catalog.english_stem'::regdictionary
        WHEN 'es' THEN 'pg_catalog.spanish_stem'::regdictionary
        WHEN 'eu' THEN 'pg_catalog.basque_stem'::regdictionary
        WHEN 'fi' THEN 'pg_catalog.finnish_stem'::regdictionary
        WHEN 'fr' THEN 'pg_catalog.french_stem'::regdictionary
        WHEN 'ga' THEN 'pg_catalog.irish_stem'::regdictionary
        WHEN 'hi' THEN 'pg_catalog.hindi_stem'::regdictionary
        WHEN 'hu' THEN 'pg_catalog.hungarian_stem'::regdictionary
        WHEN 'hy' THEN 'pg_catalog.armenian_stem'::regdictionary
        WHEN 'id' THEN 'pg_catalog.indonesian_stem'::regdictionary
        WHEN 'it' THEN 'pg_catalog.italian_stem'::regdictionary
        WHEN 'lt' THEN 'pg_catalog.lithuanian_stem'::regdictionary
        WHEN 'nb' THEN 'pg_catalog.norwegian_stem'::regdictionary
        WHEN 'ne' THEN 'pg_catalog.nepali_stem'::regdictionary
        WHEN 'nl' THEN 'pg_catalog.dutch_stem'::regdictionary
        WHEN 'nn' THEN 'pg_catalog.norwegian_stem'::regdictionary
        WHEN 'no' THEN 'pg_catalog.norwegian_stem'::regdictionary
        WHEN 'pt' THEN 'pg_catalog.portuguese_stem'::regdictionary
        WHEN 'ro' THEN 'pg_catalog.romanian_stem'::regdictionary
        WHEN 'ru' THEN 'pg_catalog.russian_stem'::regdictionary
        WHEN 'sr' THEN 'pg_catalog.serbian_stem'::regdictionary
        WHEN 'sv' THEN 'pg_catalog.swedish_stem'::regdictionary
        WHEN 'ta' THEN 'pg_catalog.tamil_stem'::regdictionary
        WHEN 'tr' THEN 'pg_catalog.turkish_stem'::regdictionary
        WHEN 'yi' THEN 'pg_catalog.yiddish_stem'::regdictionary
    END;

-- '' of a stop word, null where nothing knows the language's stems.
CREATE FUNCTION stem_of(language text, word text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN stems_of(language) IS NOT NULL THEN coalesce((ts_lexize(stems_of(language), word))[1], '') END;

-- Null: not known.
ALTER TABLE knowledge ADD COLUMN language text CHECK (language ~ '^[a-z]{2,3}$');

ALTER TABLE knowledge_words
    ADD COLUMN language text,
    ADD COLUMN stem text COLLATE "C" GENERATED ALWAYS AS (stem_of(language, word)) STORED,
    DROP CONSTRAINT knowledge_words_household_id_word_member_id_key,
    ADD UNIQUE NULLS NOT DISTINCT (household_id, word, member_id, language);
CREATE INDEX knowledge_words_by_stem ON knowledge_words (household_id, stem, language) WHERE stem <> '';

ALTER TABLE knowledge_totals
    ADD COLUMN language text,
    DROP CONSTRAINT knowledge_totals_household_id_member_id_key,
    ADD UNIQUE NULLS NOT DISTINCT (household_id, member_id, language);

CREATE OR REPLACE FUNCTION count_words() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    households bigint[];
    owners bigint[];
    languages text[];
    lexemes text[];
    changes bigint[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM knowledge_words;
        DELETE FROM knowledge_totals;
        RETURN NULL;
    END IF;

    -- By far the most frequent, and the only one that comes by the thousand.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO knowledge_words AS k (household_id, member_id, language, word, documents)
        SELECT r.household_id, r.member_id, r.language, l.word, count(*)
        FROM new_rows r CROSS JOIN LATERAL unnest(tsvector_to_array(r.search)) AS l (word)
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (household_id, word, member_id, language)
            DO UPDATE SET documents = k.documents + EXCLUDED.documents;
        INSERT INTO knowledge_totals AS t (household_id, member_id, language, entries, words)
        SELECT r.household_id, r.member_id, r.language, count(*), sum(r.words) FROM new_rows r GROUP BY 1, 2, 3
        ON CONFLICT (household_id, member_id, language)
            DO UPDATE SET entries = t.entries + EXCLUDED.entries, words = t.words + EXCLUDED.words;
        RETURN NULL;
    END IF;

    -- Where word is null, rows are counted; where it is '', their words. No lexeme is empty.
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.h), array_agg(c.m), array_agg(c.g), array_agg(c.w), array_agg(c.n)
        INTO households, owners, languages, lexemes, changes FROM (
            SELECT r.household_id AS h, r.member_id AS m, r.language AS g, l.w, -sum(l.n) AS n
            FROM old_rows r CROSS JOIN LATERAL (
                SELECT unnest(tsvector_to_array(r.search)) AS w, 1 AS n UNION ALL VALUES (NULL, 1), ('', r.words)) AS l
            GROUP BY 1, 2, 3, 4) AS c;
    ELSE
        SELECT array_agg(c.h), array_agg(c.m), array_agg(c.g), array_agg(c.w), array_agg(c.n)
        INTO households, owners, languages, lexemes, changes FROM (
            SELECT r.household_id AS h, r.member_id AS m, r.language AS g, l.w, sum(r.sign * l.n) AS n
            FROM (
                SELECT s.*
                FROM new_rows n JOIN old_rows o USING (id) CROSS JOIN LATERAL (
                    VALUES (n.household_id, n.member_id, n.language, n.search, n.words, 1),
                           (o.household_id, o.member_id, o.language, o.search, o.words, -1)
                ) AS s (household_id, member_id, language, search, words, sign)
                WHERE (n.household_id, n.member_id, n.language, n.search)
                      IS DISTINCT FROM (o.household_id, o.member_id, o.language, o.search)
            ) AS r CROSS JOIN LATERAL (
                SELECT unnest(tsvector_to_array(r.search)) AS w, 1 AS n UNION ALL VALUES (NULL, 1), ('', r.words)) AS l
            GROUP BY 1, 2, 3, 4) AS c
        WHERE c.n <> 0;
    END IF;
    IF households IS NULL THEN
        RETURN NULL;
    END IF;

    -- Less: never by an insertion, for the household or the member may be on their way out.
    DELETE FROM knowledge_words k USING unnest(households, owners, languages, lexemes, changes) AS c (h, m, g, w, n)
    WHERE c.n < 0 AND k.household_id = c.h AND k.word = c.w AND k.member_id IS NOT DISTINCT FROM c.m
      AND k.language IS NOT DISTINCT FROM c.g AND k.documents + c.n <= 0;
    UPDATE knowledge_words k SET documents = k.documents + c.n
    FROM unnest(households, owners, languages, lexemes, changes) AS c (h, m, g, w, n)
    WHERE c.n < 0 AND k.household_id = c.h AND k.word = c.w AND k.member_id IS NOT DISTINCT FROM c.m
      AND k.language IS NOT DISTINCT FROM c.g;
    INSERT INTO knowledge_words AS k (household_id, member_id, language, word, documents)
    SELECT c.h, c.m, c.g, c.w, c.n
    FROM unnest(households, owners, languages, lexemes, changes) AS c (h, m, g, w, n) WHERE c.n > 0 AND c.w <> ''
    ON CONFLICT (household_id, word, member_id, language)
        DO UPDATE SET documents = k.documents + EXCLUDED.documents;

    UPDATE knowledge_totals t SET entries = t.entries + c.entries, words = t.words + c.words
    FROM (SELECT c.h, c.m, c.g, coalesce(sum(c.n) FILTER (WHERE c.w IS NULL), 0) AS entries,
                 coalesce(sum(c.n) FILTER (WHERE c.w = ''), 0) AS words
          FROM unnest(households, owners, languages, lexemes, changes) AS c (h, m, g, w, n)
          WHERE c.w IS NULL OR c.w = ''
          GROUP BY 1, 2, 3) AS c
    WHERE t.household_id = c.h AND t.member_id IS NOT DISTINCT FROM c.m AND t.language IS NOT DISTINCT FROM c.g;
    INSERT INTO knowledge_totals (household_id, member_id, language, entries, words)
    SELECT c.h, c.m, c.g, sum(c.n) FILTER (WHERE c.w IS NULL), coalesce(sum(c.n) FILTER (WHERE c.w = ''), 0)
    FROM unnest(households, owners, languages, lexemes, changes) AS c (h, m, g, w, n)
    WHERE (c.w IS NULL OR c.w = '')
      AND NOT EXISTS (
          SELECT FROM knowledge_totals t
          WHERE t.household_id = c.h AND t.member_id IS NOT DISTINCT FROM c.m AND t.language IS NOT DISTINCT FROM c.g)
    GROUP BY 1, 2, 3 HAVING sum(c.n) FILTER (WHERE c.w IS NULL) > 0;
    RETURN NULL;
END
$$;

DROP FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz);

-- Full-text search as BM25 ranks (k1 1.2, b 0.75; the inverse document frequency never negative, as in Lucene).
--
-- `@@` is not leakproof, so under a policy PostgreSQL would leave the GIN index unused; here the policy's predicate is
-- repeated instead. A word of the question stands for itself and for those of its stem, in every language that entries
-- are in; at a discount for words that begin alike (inflected languages change the end, and not all can be stemmed);
-- and where there are none for words spelt alike. What is mostly a stop word where it stands is asked for only where
-- the question has nothing else. `score` is BM25's; `strength` what part that is of the most that the question's words
-- could give; `share` the part of the question's weight that the row has.
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
