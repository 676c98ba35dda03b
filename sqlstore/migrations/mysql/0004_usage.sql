-- latchkey 0004. What Purge finds old usage by. It only adds: a program that knows 0001 alone works beside one that knows
-- this. With much usage it takes a while.

CREATE INDEX latchkey_usage_day ON latchkey_usage (day);

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (4, '0004_usage.sql', 1);
