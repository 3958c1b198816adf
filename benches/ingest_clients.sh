#!/usr/bin/env bash
# Transactions a second of four clients that insert into the tables of SCHEMA: what pgbench says.
set -euo pipefail

export PGOPTIONS="-c search_path=$SCHEMA"
"$("${PG_CONFIG:-pg_config}" --bindir)/pgbench" -n -M prepared -c 4 -j 2 -T 4 -f benches/ingest_client.sql \
    "$AGENT_METRICS_TEST_URL" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
