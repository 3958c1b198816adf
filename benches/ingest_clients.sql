-- Four clients' transactions a second. Variables: round, schema, who.
\setenv SCHEMA :schema
\set tps `benches/ingest_clients.sh`
INSERT INTO bench.results VALUES (:round, 'I3 ' || :'who', :tps);
