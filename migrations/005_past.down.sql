DROP FUNCTION search_conversations(text, timestamptz, timestamptz, text, integer);
DROP INDEX conversations_by_words;
ALTER TABLE conversations DROP COLUMN search;
