-- latchkey 0006. How far events were delivered to other systems. It only adds: a program that knows 0001 alone works beside
-- one that knows this.

CREATE TABLE latchkey_cursors (
  owner TEXT COLLATE "C" NOT NULL,
  name  TEXT COLLATE "C" NOT NULL,
  seq   BIGINT           NOT NULL,
  PRIMARY KEY (owner, name)
);

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (6, '0006_cursors.sql', 1);
