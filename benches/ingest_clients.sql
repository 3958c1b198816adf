-- One client's CPU time, and four clients' transactions a second. Variables: round, schema, who, inserts.
SET search_path = :schema;
SELECT bench.cpu_ms() AS begun \gset
\i :inserts
INSERT INTO bench.results VALUES (:round, 'I2 ' || :'who', bench.cpu_ms() - :begun);
RESET search_path;
\setenv SCHEMA :schema
\set tps `PGOPTIONS="-c search_path=$SCHEMA" "$(${PG_CONFIG:-pg_config} --bindir)/pgbench" -n -M prepared -c 4 -j 2 -T 4 -f benches/ingest_client.sql "$AGENT_METRICS_TEST_URL" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'`
INSERT INTO bench.results VALUES (:round, 'I3 ' || :'who', :tps);
