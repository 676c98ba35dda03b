-- latchkey 0006. How far events were delivered to other systems. It only adds: a program that knows 0001 alone works beside
-- one that knows this.

CREATE TABLE latchkey_cursors (
  owner VARBINARY(256) NOT NULL,
  name  VARBINARY(64)  NOT NULL,
  seq   BIGINT         NOT NULL,
  PRIMARY KEY (owner, name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (6, '0006_cursors.sql', 1);
