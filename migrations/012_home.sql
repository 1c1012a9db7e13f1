-- What stands at home, and what was done there. `entities` is what the registry knew last, so that it knows it again
-- before the broker tells; it is the household's, whoever asks. `actions` is the log of what was done, for whom.

CREATE TABLE entities (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    entity_id    text COLLATE "C" NOT NULL CHECK (entity_id LIKE '%_._%'),
    name         text NOT NULL,
    aliases      text[] NOT NULL DEFAULT '{}',
    area         text,
    floor        text,
    domain       text NOT NULL GENERATED ALWAYS AS (split_part(entity_id, '.', 1)) STORED,
    device_class text,
    unit         text,
    device       text,
    capabilities text[] NOT NULL DEFAULT '{}',
    limits       jsonb NOT NULL DEFAULT '{}',
    options      jsonb NOT NULL DEFAULT '{}',
    exposed      boolean NOT NULL DEFAULT true,
    origin       text NOT NULL,
    state        text NOT NULL DEFAULT 'unknown',
    attributes   jsonb NOT NULL DEFAULT '{}',
    available    boolean,
    changed_at   timestamptz,
    seen_at      timestamptz,
    described_at timestamptz NOT NULL DEFAULT now(),  -- when a platform last told that it is there
    UNIQUE (household_id, entity_id)
);

CREATE TABLE actions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    household_id bigint NOT NULL DEFAULT current_household() REFERENCES households ON DELETE CASCADE,
    member_id    bigint,
    at           timestamptz NOT NULL DEFAULT now(),
    edge         text NOT NULL,
    speaker      text NOT NULL,
    words        text NOT NULL,
    thing_id     text NOT NULL,
    action       text NOT NULL,
    "values"     jsonb NOT NULL DEFAULT '{}',
    verdict      text NOT NULL,
    before       jsonb,
    after        jsonb,
    FOREIGN KEY (household_id, member_id) REFERENCES members (household_id, id) ON DELETE CASCADE
);
CREATE INDEX actions_by_member ON actions (household_id, member_id) WHERE member_id IS NOT NULL;
CREATE INDEX actions_by_household ON actions (household_id, id);

ALTER TABLE entities ENABLE ROW LEVEL SECURITY;
ALTER TABLE entities FORCE ROW LEVEL SECURITY;
CREATE POLICY scope ON entities USING (household_id = (SELECT current_household()));
CREATE POLICY owner ON entities TO CURRENT_USER USING (true);
ALTER TABLE actions ENABLE ROW LEVEL SECURITY;
ALTER TABLE actions FORCE ROW LEVEL SECURITY;
CREATE POLICY scope ON actions USING (household_id = (SELECT current_household())
    AND (member_id IS NULL OR member_id = (SELECT current_member())));
CREATE POLICY owner ON actions TO CURRENT_USER USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON entities, actions TO ai_gateway;
