-- Takes back 003: the documents go, and what came from them.

DELETE FROM knowledge WHERE document_id IS NOT NULL;
ALTER TABLE knowledge DROP COLUMN heading, DROP COLUMN page, DROP COLUMN document_id;
DROP TABLE documents, folders;
