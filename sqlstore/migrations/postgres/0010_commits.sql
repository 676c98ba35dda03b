-- latchkey 0010. Changes that share a transaction are numbered together, and are kept as they are read. It only adds: a
-- program that knows 0001 alone works beside one that knows this.

-- The changes of a transaction that has not been committed, whatever number of Writes it has: one row, with arrays of the
-- same length. The trigger takes the row away before the commit, so no transaction sees a row of another, and the table is
-- always empty. owner and id are those of the first Write. nths says which Write a change is of: 1, …, writes. seqs is its
-- number within that Write: 0, …
CREATE TABLE latchkey_commits (
  owner  TEXT COLLATE "C"   NOT NULL,
  id     BYTEA              NOT NULL CHECK (length(id) = 16),
  writes BIGINT             NOT NULL CHECK (writes >= 1),
  nths   BIGINT[]           NOT NULL,
  seqs   BIGINT[]           NOT NULL,
  owners TEXT[] COLLATE "C" NOT NULL,
  kinds  SMALLINT[]         NOT NULL,
  ids    TEXT[] COLLATE "C" NOT NULL,
  untils BIGINT[]           NOT NULL,
  ats    BIGINT[]           NOT NULL,
  PRIMARY KEY (owner, id)
);

-- The change as processes read it. NULL: it is made of the other columns when it is read, as for what programs of earlier
-- versions insert.
ALTER TABLE latchkey_changes ADD COLUMN packed TEXT COLLATE "C";

-- Rows whose last use or number is written find room beside what they replace, so that no index is touched. It is for pages
-- that are filled from now on.
ALTER TABLE latchkey_tokens SET (fillfactor = 85);

ALTER TABLE latchkey_secrets SET (fillfactor = 85);

ALTER TABLE latchkey_event_seqs SET (fillfactor = 50);

-- Optional: the function and the trigger. Where they cannot be made, both are left out, and programs raise the epoch by
-- their last statement. Programs use them only as they stand here. Those of earlier versions use the trigger of 0003.
-- The function finds the tables beside the one it was called for, whatever the session's search_path is.
CREATE OR REPLACE FUNCTION latchkey_number_changes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  before BIGINT;
BEGIN
  PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
  DELETE FROM latchkey_commits WHERE owner = NEW.owner AND id = NEW.id;
  -- From here on every other change waits for this commit. So this comes last.
  UPDATE latchkey_epoch SET epoch = epoch + NEW.writes WHERE id = 1 RETURNING epoch - NEW.writes INTO before;
  IF before IS NULL THEN
    RAISE EXCEPTION 'the row of latchkey_epoch is missing' USING ERRCODE = 'no_data_found';
  END IF;
  INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at, packed)
    SELECT before + c.nth, c.seq, c.owner, c.kind, c.id, c.until, c.at,
      concat(before + c.nth, ' ', (CAST(c.kind AS BIGINT) << 41) + (CAST(octet_length(c.owner) AS BIGINT) << 21)
        + (CAST(octet_length(c.id) AS BIGINT) << 1) + CASE WHEN c.until IS NULL THEN 0 ELSE 1 END, ' ', c.until || ' ',
        c.owner, c.id)
    FROM unnest(NEW.nths, NEW.seqs, NEW.owners, NEW.kinds, NEW.ids, NEW.untils, NEW.ats)
      AS c (nth, seq, owner, kind, id, until, at);
  RETURN NULL;
END
$$;

-- Optional:
CREATE CONSTRAINT TRIGGER latchkey_number_changes AFTER INSERT ON latchkey_commits
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION latchkey_number_changes();

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (10, '0010_commits.sql', 1);
