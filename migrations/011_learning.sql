-- What was said while learning was switched off is not recalled: its rows say so in their metadata.
-- As in 005_past.sql but for that.
CREATE OR REPLACE FUNCTION search_conversations(
    question text, since timestamptz, until timestamptz, but_session text, at_most integer)
RETURNS TABLE (turn_id text, share double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH asked AS MATERIALIZED (
        SELECT lexeme AS word,
               ('''' || replace(replace(left(lexeme, greatest(4, length(lexeme) - length(lexeme) / 3)),
                                        '\', '\\'), '''', '''''') || ''':*')::tsquery AS query
        FROM unnest(to_tsvector('public.gateway'::regconfig, question))
        ORDER BY positions[1] LIMIT 16
    ), found AS MATERIALIZED (
        SELECT a.word, c.turn_id, max(c.created_at) AS at
        FROM asked a CROSS JOIN LATERAL (
            SELECT c.turn_id, c.created_at FROM conversations c
            WHERE c.search @@ a.query
              AND c.household_id + 0 = current_household()
              AND (c.member_id IS NULL OR c.member_id = current_member())
              AND (since IS NULL OR c.created_at >= since)
              AND (until IS NULL OR c.created_at < until)
              AND c.session_id IS DISTINCT FROM but_session
              AND NOT c.metadata ? 'unlearned'
            ORDER BY c.created_at DESC
            LIMIT 1000
        ) AS c
        GROUP BY a.word, c.turn_id
    ), weights AS MATERIALIZED (
        SELECT a.word, ln(1 + 2000.0 / (1 + count(f.turn_id)))::double precision AS weight
        FROM asked a LEFT JOIN found f USING (word)
        GROUP BY a.word
    )
    SELECT f.turn_id, sum(w.weight) / (SELECT sum(weight) FROM weights)
    FROM found f JOIN weights w USING (word)
    GROUP BY f.turn_id
    ORDER BY 2 DESC, max(f.at) DESC
    LIMIT at_most
$$;
