-- latchkey 0008. How many tokens live, for owners with a policy that bounds it. It only adds: programs of earlier versions
-- cannot read the record of such an owner, and refuse its tokens.

-- live: how many of the tokens with this parent ('' for issued ones) lived when they were counted, and those that were
-- inserted since. owner_version: of the owner's record then. oldest: none with a lower id lives.
CREATE TABLE latchkey_live (
  owner         VARBINARY(256) NOT NULL,
  parent        VARBINARY(256) NOT NULL,
  live          BIGINT         NOT NULL CHECK (live >= 0),
  owner_version BIGINT         NOT NULL,
  oldest        VARBINARY(256) NOT NULL,
  PRIMARY KEY (owner, parent)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (8, '0008_policy.sql', 1);
