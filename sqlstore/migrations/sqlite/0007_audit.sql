-- latchkey 0007. The audit trail by object, by actor and by time. It only adds: a program that knows 0001 alone works beside
-- one that knows this.

CREATE INDEX latchkey_events_object ON latchkey_events (owner, object, seq);

CREATE INDEX latchkey_events_actor ON latchkey_events (owner, actor, seq);

CREATE INDEX latchkey_events_time ON latchkey_events (owner, at, seq);

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (7, '0007_audit.sql', 1);
