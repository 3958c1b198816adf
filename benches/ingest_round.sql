-- One round of benches/ingest.sql. Variables: round, columns, file, inserts.
CALL bench.round(:round, :'columns', :'file');
\i :inserts
RESET search_path;
\set schema bench
\set who plain
\ir ingest_clients.sql
\set schema agent_metrics
\set who ours
\ir ingest_clients.sql
\ir ingest_clients.sql
\set schema bench
\set who plain
\ir ingest_clients.sql
