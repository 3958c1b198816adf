-- One round of benches/ingest.sql. Variables: round, columns, file.
CALL bench.round(:round, :'columns', :'file');
\set schema bench
\set who plain
\ir ingest_clients.sql
\set schema agent_metrics
\set who ours
\ir ingest_clients.sql
