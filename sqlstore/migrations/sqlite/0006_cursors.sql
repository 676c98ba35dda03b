-- latchkey 0006. How far events were delivered to other systems. It only adds: a program that knows 0001 alone works beside
-- one that knows this.

CREATE TABLE latchkey_cursors (
  owner TEXT    NOT NULL,
  name  TEXT    NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (owner, name)
) STRICT, WITHOUT ROWID;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (6, '0006_cursors.sql', 1);
