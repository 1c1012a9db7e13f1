-- Takes back 001. Every row of the gateway goes with it. The extensions and the role stay: others may use them.

DROP FUNCTION embedding(knowledge);
DROP FUNCTION response_cache_totals();
DROP FUNCTION clear_response_cache(boolean);
DROP FUNCTION trim_response_cache(integer);
DROP FUNCTION search_knowledge(text, text[], bigint, integer);
DROP FUNCTION member_by_token(bytea);
DROP TABLE training_data, response_cache, vectors, embedding_spaces, preferences, knowledge, conversations, members,
    households;
DROP FUNCTION move_own_memory_epoch();
DROP FUNCTION move_memory_epoch();
DROP FUNCTION drop_vectors();
DROP FUNCTION touch_updated_at();
DROP FUNCTION current_member();
DROP FUNCTION current_household();
DROP TEXT SEARCH CONFIGURATION public.gateway;
REVOKE USAGE ON SCHEMA public FROM ai_gateway;
