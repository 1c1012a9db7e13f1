-- Takes back 007: what was known before is gone for good.

DROP FUNCTION knowledge_with_words(text[], boolean, bigint, integer);
DROP FUNCTION search_history(text[], boolean, integer);
DROP TABLE knowledge_history;
ALTER TABLE knowledge DROP COLUMN words_hash;
DROP FUNCTION words_hash(text);
