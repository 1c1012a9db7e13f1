-- What was known before: versions that were edited, superseded, merged into another, or archived because nobody recalled
-- them any more. What is out of force stands here and not in `knowledge`, so that search need not leave it out.

-- Equal for texts of the same words, whatever their capitals, accents and punctuation. A column, for under a policy
-- PostgreSQL uses an index on it, which it would not on an expression.
CREATE FUNCTION words_hash(content text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(to_tsvector('public.gateway'::regconfig, content)::text, 0);
ALTER TABLE knowledge ADD COLUMN words_hash bigint NOT NULL GENERATED ALWAYS AS (words_hash(content)) STORED;
CREATE INDEX knowledge_by_words_hash ON knowledge (household_id, words_hash) WHERE document_id IS NULL;

-- `entry_id` is the entry that it was (or, merged, that it went into); `replaced_by` the one that took its place.
CREATE TABLE knowledge_history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    entry_id     bigint NOT NULL,
    content      text NOT NULL CHECK (content <> ''),
    source       text,
    tags         text[] NOT NULL DEFAULT '{}',
    kind         text NOT NULL DEFAULT 'fact',
    confidence   real NOT NULL DEFAULT 1,
    pinned       boolean NOT NULL DEFAULT false,
    expires_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz NOT NULL DEFAULT now(),
    reason       text NOT NULL CHECK (reason IN ('edited', 'superseded', 'merged', 'archived')),
    replaced_by  bigint,
    search       tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('public.gateway'::regconfig, content)) STORED,
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE
);
CREATE INDEX knowledge_history_by_entry ON knowledge_history (household_id, entry_id, id);
CREATE INDEX knowledge_history_by_successor ON knowledge_history (household_id, replaced_by)
    WHERE replaced_by IS NOT NULL;
CREATE INDEX knowledge_history_archived ON knowledge_history (household_id, ended_at) WHERE reason = 'archived';
CREATE INDEX knowledge_history_by_words ON knowledge_history USING gin (search);

ALTER TABLE knowledge_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE knowledge_history FORCE ROW LEVEL SECURITY;
CREATE POLICY scope ON knowledge_history USING (household_id = (SELECT current_household())
    AND (member_id IS NULL OR member_id = (SELECT current_member())));
CREATE POLICY owner ON knowledge_history TO CURRENT_USER USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge_history TO ai_gateway;

-- Versions that have words which begin so, those first that have most of them. `@@` is not leakproof: the policy's
-- predicate is repeated here, so that the index is used.
CREATE FUNCTION search_history(beginnings text[], only_archived boolean, at_most integer) RETURNS TABLE (id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH words AS (
        SELECT ('''' || replace(replace(b, '\', '\\'), '''', '''''') || ''':*')::tsquery AS word
        FROM unnest(beginnings) AS b WHERE b <> '' LIMIT 32
    )
    SELECT h.id FROM words w JOIN knowledge_history h ON h.search @@ w.word
    WHERE h.household_id = current_household() AND (h.member_id IS NULL OR h.member_id = current_member())
      AND (NOT only_archived OR h.reason = 'archived')
    GROUP BY h.id
    ORDER BY count(*) DESC, h.id DESC
    LIMIT at_most
$$;

-- Entries, and where they are wanted passages, that have a word for each of these beginnings; by id, those after
-- `after`. Search looks at the best ones; what is to be forgotten is all of them.
CREATE FUNCTION knowledge_with_words(beginnings text[], passages boolean, after bigint, at_most integer)
RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id FROM knowledge k
    WHERE k.search @@ (
            SELECT string_agg('''' || replace(replace(b, '\', '\\'), '''', '''''') || ''':*', ' & ')::tsquery
            FROM unnest(beginnings) AS b WHERE b <> '')
      AND k.household_id = current_household() AND (k.member_id IS NULL OR k.member_id = current_member())
      AND k.id > after AND (passages OR k.document_id IS NULL)
    ORDER BY k.id
    LIMIT at_most
$$;
REVOKE EXECUTE ON FUNCTION search_history(text[], boolean, integer),
    knowledge_with_words(text[], boolean, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_history(text[], boolean, integer),
    knowledge_with_words(text[], boolean, bigint, integer) TO ai_gateway;
