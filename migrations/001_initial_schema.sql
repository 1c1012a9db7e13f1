-- The first schema: households and members, what they said, what they told, what is derived from it.
--
-- Runs as the owner of the schema, on PostgreSQL 16 or newer with pgvector 0.8.4 or newer, once the role `ai_gateway`
-- exists (scripts/init_db.py, or the gateway's start, sees to it). The gateway serves as that role and owns nothing.
-- Each of its transactions says for whom it speaks:
--
--     SELECT set_config('app.household_id', '1', true), set_config('app.member_id', '', true)
--
-- and the policies below let it see that household's shared rows and that member's own. Without a scope: nothing.

CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;

-- Words as they are, without their accents: the household's languages mix, so no language's stemming fits all.
CREATE TEXT SEARCH CONFIGURATION public.gateway (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION public.gateway
    ALTER MAPPING FOR hword, hword_part, word WITH public.unaccent, pg_catalog.simple;

-- After a transaction that set them the settings read '' rather than NULL, hence nullif.
CREATE FUNCTION current_household() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.household_id', true), '')::bigint;
CREATE FUNCTION current_member() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.member_id', true), '')::bigint;

-- --- tables ---------------------------------------------------------------------------------------------------------

CREATE TABLE households (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    settings     jsonb NOT NULL DEFAULT '{}',
    memory_epoch bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE members (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    name         text NOT NULL,
    role         text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
    token_hash   bytea UNIQUE CHECK (length(token_hash) = 32),
    settings     jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    UNIQUE (household_id, name),
    UNIQUE (household_id, id)
);

CREATE TABLE conversations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    turn_id      text NOT NULL,
    session_id   text NOT NULL,
    role         text NOT NULL CHECK (role IN ('user', 'assistant')),
    content      text NOT NULL,
    language     text,
    intent       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    metadata     jsonb NOT NULL DEFAULT '{}',
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE (household_id, turn_id, role)
);
CREATE INDEX conversations_by_session ON conversations (household_id, session_id, id);
CREATE INDEX conversations_by_time ON conversations (household_id, created_at);

CREATE TABLE knowledge (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id     bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id        bigint,
    reference        text,
    content          text NOT NULL CHECK (content <> ''),
    source           text,
    tags             text[] NOT NULL DEFAULT '{}',
    kind             text NOT NULL DEFAULT 'fact',
    confidence       real NOT NULL DEFAULT 1 CHECK (confidence BETWEEN 0 AND 1),
    pinned           boolean NOT NULL DEFAULT false,
    expires_at       timestamptz,
    last_recalled_at timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    search           tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('public.gateway'::regconfig, content)) STORED,
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE (household_id, reference)
);
CREATE INDEX knowledge_by_household ON knowledge (household_id, id);
CREATE INDEX knowledge_by_expiry ON knowledge (household_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX knowledge_by_tags ON knowledge USING gin (tags);
CREATE INDEX knowledge_by_words ON knowledge USING gin (search);

CREATE TABLE preferences (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    key          text NOT NULL CHECK (key <> ''),
    value        jsonb NOT NULL,
    category     text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE NULLS NOT DISTINCT (household_id, member_id, key)
);
CREATE INDEX preferences_by_category ON preferences (household_id, category);

CREATE TABLE embedding_spaces (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id    bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    model           text NOT NULL,
    dimensions      integer NOT NULL CHECK (dimensions > 0),
    query_prefix    text NOT NULL DEFAULT '',
    document_prefix text NOT NULL DEFAULT '',
    recipe          text NOT NULL DEFAULT '',
    state           text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'current', 'retired')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (household_id, model, dimensions, query_prefix, document_prefix, recipe),
    UNIQUE (household_id, id, dimensions)
);
CREATE UNIQUE INDEX embedding_spaces_one_current ON embedding_spaces (household_id) WHERE state = 'current';

-- Vectors stand apart from what they are vectors of: an exact scan reads these pages and nothing else, several spaces
-- live side by side, and every kind of memory can have them. MAIN keeps them in the row.
CREATE TABLE vectors (
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    kind         text NOT NULL,
    ref_id       bigint NOT NULL,
    space_id     bigint NOT NULL,
    embedding    vector NOT NULL,
    dimensions   integer NOT NULL GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (household_id, space_id, kind, ref_id),
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    -- A vector of another width than its space's would break every search in it.
    FOREIGN KEY (household_id, space_id, dimensions)
        REFERENCES embedding_spaces (household_id, id, dimensions) ON DELETE CASCADE
);
ALTER TABLE vectors ALTER COLUMN embedding SET STORAGE MAIN;
CREATE INDEX vectors_by_reference ON vectors (household_id, kind, ref_id);

CREATE TABLE response_cache (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id       bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id          bigint,
    query_hash         text NOT NULL,
    query_text         text NOT NULL,
    response           text NOT NULL,
    memory_epoch       bigint NOT NULL,
    prompt_fingerprint text NOT NULL DEFAULT '',
    hit_count          bigint NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    last_used_at       timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz,
    metadata           jsonb NOT NULL DEFAULT '{}',
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE NULLS NOT DISTINCT (household_id, member_id, query_hash)
);
CREATE INDEX response_cache_by_hash ON response_cache (query_hash, household_id);
CREATE INDEX response_cache_by_expiry ON response_cache (household_id, expires_at);
CREATE INDEX response_cache_by_use ON response_cache (household_id, last_used_at);

CREATE TABLE training_data (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id     bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id        bigint,
    turn_id          text NOT NULL,
    input_text       text NOT NULL,
    output_text      text NOT NULL,
    feedback_score   integer CHECK (feedback_score BETWEEN 1 AND 5),
    interaction_type text,
    language         text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    exported         boolean NOT NULL DEFAULT false,
    metadata         jsonb NOT NULL DEFAULT '{}',
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE (household_id, turn_id)
);
CREATE INDEX training_data_by_household ON training_data (household_id, id);
CREATE INDEX training_data_to_export ON training_data (household_id, id) WHERE NOT exported;
CREATE INDEX training_data_by_score ON training_data (household_id, feedback_score);

-- --- who sees what --------------------------------------------------------------------------------------------------

-- The sub-selects are evaluated once a statement instead of once a row. The schema's owner keeps a policy of its own, so
-- that the SECURITY DEFINER functions below work where the owner is not a superuser.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['conversations', 'knowledge', 'preferences', 'vectors', 'response_cache', 'training_data']
    LOOP
        EXECUTE format(
            'CREATE POLICY scope ON %I USING (household_id = (SELECT current_household())
                 AND (member_id IS NULL OR member_id = (SELECT current_member())))', name);
    END LOOP;
    EXECUTE 'CREATE POLICY scope ON members FOR SELECT USING (household_id = (SELECT current_household())
                 AND ((SELECT current_member()) IS NULL OR id = (SELECT current_member())))';
    EXECUTE 'CREATE POLICY scope ON embedding_spaces USING (household_id = (SELECT current_household()))';
    EXECUTE 'CREATE POLICY scope ON households FOR SELECT USING (id = (SELECT current_household()))';
    FOREACH name IN ARRAY ARRAY['households', 'members', 'conversations', 'knowledge', 'preferences', 'embedding_spaces',
                                'vectors', 'response_cache', 'training_data']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true)', name);
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO ai_gateway;
GRANT SELECT ON households TO ai_gateway;
GRANT SELECT (id, household_id, name, role, settings, created_at, revoked_at) ON members TO ai_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON conversations, knowledge, preferences, vectors, response_cache, training_data TO ai_gateway;
GRANT SELECT, INSERT, UPDATE ON embedding_spaces TO ai_gateway;

-- A bearer token names its member before there is a scope. The hash goes in, and never comes out.
CREATE FUNCTION member_by_token(hash bytea) RETURNS TABLE (household_id bigint, member_id bigint, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.household_id, m.id, m.name FROM members m WHERE m.token_hash = hash AND m.revoked_at IS NULL
$$;

-- --- what is kept by itself -----------------------------------------------------------------------------------------

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch_updated_at
    BEFORE UPDATE OF content, source, tags, kind, member_id, pinned, expires_at ON knowledge
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON preferences FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_updated_at
    BEFORE UPDATE OF feedback_score, metadata ON training_data
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- A vector of words that changed, of a row that is gone, or of one that belongs to another now, must not be found.
CREATE FUNCTION drop_vectors() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM vectors WHERE household_id = OLD.household_id AND kind = TG_ARGV[0] AND ref_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER drop_vectors_of_deleted AFTER DELETE ON knowledge
    FOR EACH ROW EXECUTE FUNCTION drop_vectors('knowledge');
CREATE TRIGGER drop_vectors_of_changed AFTER UPDATE ON knowledge
    FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content OR OLD.member_id IS DISTINCT FROM NEW.member_id)
    EXECUTE FUNCTION drop_vectors('knowledge');

-- The memory epoch says which state of a household's durable memory an answer was made of. It moves with the change, in
-- the same transaction, whoever makes it; columns named in the trigger's arguments do not count.
CREATE FUNCTION move_memory_epoch() RETURNS trigger
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

DO $$
DECLARE
    name text;
    ignored text;
BEGIN
    FOR name, ignored IN VALUES
        ('knowledge', $i$'search', 'updated_at', 'confidence', 'last_recalled_at'$i$),
        ('preferences', $i$'updated_at'$i$),
        ('members', $i$'token_hash', 'revoked_at'$i$),
        ('vectors', $i$'created_at'$i$),
        ('embedding_spaces', $i$'created_at'$i$)
    LOOP
        EXECUTE format('CREATE TRIGGER epoch_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch()', name);
        EXECUTE format('CREATE TRIGGER epoch_update AFTER UPDATE ON %I
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch(%s)', name, ignored);
        EXECUTE format('CREATE TRIGGER epoch_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch()', name);
        EXECUTE format('CREATE TRIGGER epoch_truncate AFTER TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch()', name);
    END LOOP;
END
$$;

CREATE FUNCTION move_own_memory_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.memory_epoch := OLD.memory_epoch + 1;
    PERFORM pg_notify('memory_epoch', NEW.id || ':' || NEW.memory_epoch);
    RETURN NEW;
END
$$;
CREATE TRIGGER epoch_update BEFORE UPDATE ON households
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.settings IS DISTINCT FROM NEW.settings)
    EXECUTE FUNCTION move_own_memory_epoch();

-- --- what runs with the owner's rights ------------------------------------------------------------------------------

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

-- The cache's bound, its totals and its clearing are the household's, whoever asks: they show no one's words.
CREATE FUNCTION trim_response_cache(most integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM response_cache WHERE id IN (
            SELECT id FROM response_cache WHERE household_id = current_household()
            ORDER BY last_used_at DESC, id DESC OFFSET most)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
CREATE FUNCTION clear_response_cache(expired_only boolean) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM response_cache
        WHERE household_id = current_household() AND (NOT expired_only OR expires_at <= now())
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
CREATE FUNCTION response_cache_totals() RETURNS TABLE (entries bigint, bytes bigint, hits bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*), coalesce(sum(octet_length(query_text) + octet_length(response)), 0)::bigint,
           coalesce(sum(hit_count), 0)::bigint
    FROM response_cache WHERE household_id = current_household()
$$;

REVOKE EXECUTE ON FUNCTION member_by_token(bytea), search_knowledge(text, text[], bigint, integer),
    trim_response_cache(integer), clear_response_cache(boolean), response_cache_totals() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION member_by_token(bytea), search_knowledge(text, text[], bigint, integer),
    trim_response_cache(integer), clear_response_cache(boolean), response_cache_totals() TO ai_gateway;

-- `SELECT k.embedding FROM knowledge k` reads the vector in the current space, as if it were a column.
CREATE FUNCTION embedding(k knowledge) RETURNS vector LANGUAGE sql STABLE AS $$
    SELECT v.embedding
    FROM vectors v JOIN embedding_spaces s ON s.id = v.space_id AND s.state = 'current'
    WHERE v.household_id = k.household_id AND v.kind = 'knowledge' AND v.ref_id = k.id
$$;
