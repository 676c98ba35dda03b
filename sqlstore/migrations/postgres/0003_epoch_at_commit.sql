-- latchkey 0003. The epoch is raised inside COMMIT, so that no transaction holds its row while it waits for its client. It
-- only adds: a program that knows 0001 alone works beside one that knows this, and raises the epoch by a statement.

-- The changes of a Write that has not been committed: one row for each Write, with arrays of the same length. The trigger
-- takes the row away before the commit, so no transaction sees a row of another, and the table is always empty.
CREATE TABLE latchkey_pending (
  owner  TEXT COLLATE "C"   NOT NULL,
  id     BYTEA              NOT NULL CHECK (length(id) = 16), -- of the Write
  at     BIGINT             NOT NULL,
  kinds  SMALLINT[]         NOT NULL,
  ids    TEXT[] COLLATE "C" NOT NULL,
  untils BIGINT[]           NOT NULL,
  PRIMARY KEY (owner, id)
);

-- Optional: the function and the trigger. Where they cannot be made, both are left out, and programs raise the epoch by
-- their last statement. Programs use them only as they stand here.
-- The function finds the tables beside the one it was called for, whatever the session's search_path is.
CREATE OR REPLACE FUNCTION latchkey_raise_epoch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  raised BIGINT;
BEGIN
  PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
  DELETE FROM latchkey_pending WHERE owner = NEW.owner AND id = NEW.id;
  -- From here on every other change waits for this commit. So this comes last.
  UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch INTO raised;
  IF raised IS NULL THEN
    RAISE EXCEPTION 'the row of latchkey_epoch is missing' USING ERRCODE = 'no_data_found';
  END IF;
  INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at)
    SELECT raised, c.seq - 1, NEW.owner, c.kind, c.id, c.until, NEW.at
    FROM unnest(NEW.kinds, NEW.ids, NEW.untils) WITH ORDINALITY AS c (kind, id, until, seq);
  RETURN NULL;
END
$$;

-- Optional:
CREATE CONSTRAINT TRIGGER latchkey_raise_epoch AFTER INSERT ON latchkey_pending
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION latchkey_raise_epoch();

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (3, '0003_epoch_at_commit.sql', 1);
