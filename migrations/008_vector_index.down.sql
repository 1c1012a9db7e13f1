-- Takes back 008: the indexes of the spaces go as well; every search is exact again.

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                WHERE i.indrelid = 'public.vectors'::regclass AND c.relname ~ '^vectors_near_\d+$'
    LOOP
        EXECUTE format('DROP INDEX %I', name);
    END LOOP;
END
$$;
DROP FUNCTION vector_indexes(bigint),
    nearest_knowledge(bigint, vector, integer, bigint, text[], bigint, text, timestamptz, timestamptz, bigint),
    nearest_by_index(bigint, vector, integer, text[], bigint, text, timestamptz, timestamptz, bigint),
    kept_knowledge(text[], bigint, text, timestamptz, timestamptz, bigint, bigint);
DROP INDEX knowledge_by_time, knowledge_by_kind, vectors_by_member;
