DROP FUNCTION suggest_words(text, integer);
DROP FUNCTION search_knowledge(text, text[], bigint, integer, text, timestamptz, timestamptz);
DROP FUNCTION similar_words(text);
DROP TRIGGER words_truncate ON knowledge;
DROP TRIGGER words_delete ON knowledge;
DROP TRIGGER words_update ON knowledge;
DROP TRIGGER words_insert ON knowledge;
DROP FUNCTION count_words();
DROP TABLE knowledge_totals, knowledge_words;
ALTER INDEX knowledge_by_words RESET (gin_pending_list_limit);
ALTER TABLE knowledge DROP COLUMN words;
DROP FUNCTION word_count(tsvector);

-- Full-text search. `@@` is not leakproof, so under a policy PostgreSQL would leave the GIN index unused; here the
-- policy's predicate is repeated instead. Each word is looked up by its beginning (inflected languages change the end)
-- and weighs the more the fewer rows hold it; the score is the share of the question's weight that a row has.
CREATE FUNCTION search_knowledge(question text, wanted_tags text[], only_member bigint, at_most integer)
RETURNS TABLE (id bigint, score double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH words AS (
        SELECT DISTINCT ('''' || replace(replace(left(lexeme, greatest(3, length(lexeme) - length(lexeme) / 4)),
                                         '\', '\\'), '''', '''''') || ''':*')::tsquery AS word
        FROM unnest(to_tsvector('public.gateway'::regconfig, question))
        LIMIT 32
    ), found AS (
        SELECT w.word, k.id
        FROM words w CROSS JOIN LATERAL (
            SELECT k.id FROM knowledge k
            WHERE k.search @@ w.word
              AND k.household_id = current_household()
              AND (k.member_id IS NULL OR k.member_id = current_member())
              AND (only_member IS NULL OR k.member_id = only_member)
              AND (k.expires_at IS NULL OR k.expires_at > now())
              AND k.tags @> wanted_tags
        ) AS k
    ), weights AS (
        SELECT w.word, ln(2 + (SELECT count(*) FROM knowledge k WHERE k.household_id = current_household())::float8
                              / greatest(1, count(f.id))) AS weight
        FROM words w LEFT JOIN found f USING (word)
        GROUP BY w.word
    )
    SELECT f.id, sum(w.weight) / (SELECT sum(weight) FROM weights)
    FROM found f JOIN weights w USING (word)
    GROUP BY f.id
    ORDER BY 2 DESC, f.id DESC
    LIMIT at_most
$$;
REVOKE EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_knowledge(text, text[], bigint, integer) TO ai_gateway;
