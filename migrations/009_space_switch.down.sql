-- Takes back 009: spaces are current or not, and every vector moves the epoch.

DROP TRIGGER epoch_insert ON vectors;
DROP TRIGGER epoch_update ON vectors;
DROP TRIGGER epoch_delete ON vectors;
DROP FUNCTION move_memory_epoch_with_vectors();
CREATE TRIGGER epoch_insert AFTER INSERT ON vectors REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch();
CREATE TRIGGER epoch_update AFTER UPDATE ON vectors REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch('created_at');
CREATE TRIGGER epoch_delete AFTER DELETE ON vectors REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION move_memory_epoch();
DROP FUNCTION switch_space(bigint);
DROP FUNCTION space_progress(bigint);
UPDATE embedding_spaces SET state = 'retired' WHERE state = 'set_aside';
ALTER TABLE embedding_spaces DROP CONSTRAINT embedding_spaces_state_check;
ALTER TABLE embedding_spaces ADD CONSTRAINT embedding_spaces_state_check
    CHECK (state IN ('building', 'current', 'retired'));
