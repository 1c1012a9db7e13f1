-- Documents: their folders, what is known of each, and their passages, which are rows of `knowledge`, so that search,
-- vectors, policies, the epoch and forgetting hold for them without a second word.

CREATE TABLE folders (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    name         text NOT NULL CHECK (name <> ''),
    created_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    UNIQUE NULLS NOT DISTINCT (household_id, member_id, name),
    UNIQUE (household_id, id)
);

-- `version` counts what was uploaded under this id, `served` is the version whose passages are found (null: none yet).
-- State, reason and the file's figures are of the newest version. `upload` names its file in the data folder while it is
-- not read yet.
CREATE TABLE documents (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    folder_id    bigint,
    name         text NOT NULL CHECK (name <> ''),
    tags         text[] NOT NULL DEFAULT '{}',
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    bytes        bigint NOT NULL,
    version      integer NOT NULL DEFAULT 1,
    served       integer,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'parsing', 'ready', 'failed')),
    reason       text,
    upload       text,
    pages        integer,
    passages     integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE,
    FOREIGN KEY (household_id, folder_id) REFERENCES folders (household_id, id) ON DELETE SET NULL (folder_id),
    CONSTRAINT documents_once UNIQUE NULLS NOT DISTINCT (household_id, member_id, sha256),
    UNIQUE (household_id, id)
);
CREATE INDEX documents_by_folder ON documents (household_id, folder_id);
CREATE INDEX documents_unread ON documents (household_id, id) WHERE state IN ('waiting', 'parsing');

ALTER TABLE knowledge
    ADD COLUMN document_id bigint,
    ADD COLUMN page integer,
    ADD COLUMN heading text,
    ADD FOREIGN KEY (household_id, document_id) REFERENCES documents (household_id, id) ON DELETE CASCADE;
CREATE INDEX knowledge_by_document ON knowledge (household_id, document_id, id) WHERE document_id IS NOT NULL;

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON documents FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['folders', 'documents']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY scope ON %I USING (household_id = (SELECT current_household())
                 AND (member_id IS NULL OR member_id = (SELECT current_member())))', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true)', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON folders, documents TO ai_gateway;
