//! What the hot path does in Rust, held against the plain SQL it stands for: amounts, the latest of some rows, sums.

use crate::support::asserts::assert_sqlstate;
use crate::support::db;
use crate::support::rollups::{assert_rollups, refresh};

#[test]
fn amounts_are_judged_as_numeric_compares_them() {
    let db = db("facts_amounts");
    // A CHECK function that raises: the block says whether it did.
    db.exec(
        "CREATE TABLE judged (amount numeric, is_taken boolean);
         DO $$
         DECLARE
             amount numeric;
         BEGIN
             PERFORM setseed(0.25);
             FOR amount IN
                 SELECT u.a::numeric FROM unnest(ARRAY['0', '0.000', '-0', '1', '9999', '10000',
                     '99999999', '100000000', '999999999999', '999999999999.9999999999999999999',
                     '1000000000000', '1000000000000.0', '1000000000000.00000001', '1e13', '1e15',
                     '1e16', '1e17', '1e-1', '1e-4', '1e-5', '1e-200', '1e-250', '1e-270', '1e-300',
                     '1e-1000', '1e300', '1e1000', '1e100000', '-1e-300', '-1', '-1e12',
                     'NaN', 'Infinity', '-Infinity']) AS u (a)
                 UNION ALL
                 SELECT (CASE WHEN random() < 0.1 THEN -1 ELSE 1 END * random()::numeric
                         * 10::numeric ^ (random() * 40 - 20)::integer)::numeric
                 FROM generate_series(1, 4000)
             LOOP
                 BEGIN
                     INSERT INTO agent_metrics.agent_events (
                         agent_id, occurred_at, conversation_id, cost_usd)
                     VALUES ('any', now(), 'c', amount);
                     INSERT INTO judged VALUES (amount, true);
                 EXCEPTION WHEN check_violation THEN
                     INSERT INTO judged VALUES (amount, false);
                 END;
             END LOOP;
         END $$",
    );
    let wrong = db.lines(
        "SELECT amount, is_taken FROM judged
         WHERE is_taken IS DISTINCT FROM (amount <> 'NaN' AND amount >= 0 AND amount < 1000000000000)",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    let counts = db.lines(
        "SELECT count(*) > 4000, count(*) FILTER (WHERE is_taken) > 1000,
                count(*) FILTER (WHERE NOT is_taken) > 500
         FROM judged",
    );
    assert_eq!(counts, ["t|t|t"]);
}

#[test]
fn latest_and_earliest_are_the_ends_of_the_order() {
    let db = db("facts_latest");
    db.exec(
        "SELECT setseed(0.5);
         CREATE TABLE said AS
         SELECT n % 400 AS topic,
                CASE WHEN random() < 0.8 THEN 'v' || (random() * 9)::integer END AS word,
                CASE WHEN random() < 0.9
                     THEN CASE WHEN random() < 0.05 THEN '-infinity'
                               ELSE timestamptz '2026-01-01'
                                  + (random() * 4)::integer * interval '1 day' END END AS at,
                CASE WHEN random() < 0.7 THEN (random() * 3)::integer END AS place,
                CASE WHEN random() < 0.9 THEN md5((random() * 4)::integer::text) END AS id
         FROM generate_series(1, 4000) AS n",
    );
    // Rows that agree in all three say the same: which of them is meant nobody can tell.
    db.exec(
        "UPDATE said s SET word = k.word
         FROM (SELECT topic, at, place, id, min(word) AS word
               FROM said WHERE word IS NOT NULL GROUP BY topic, at, place, id) k
         WHERE s.topic = k.topic AND s.at IS NOT DISTINCT FROM k.at AND s.place IS NOT DISTINCT FROM k.place
           AND s.id IS NOT DISTINCT FROM k.id AND s.word IS NOT NULL",
    );
    let wrong = db.lines(
        "SELECT * FROM (
             SELECT topic, agent_metrics_internal.latest(word, at, place, id) AS last,
                    agent_metrics_internal.earliest(word, at, place, id) AS first,
                    (array_agg(word ORDER BY at DESC,
                                    place DESC NULLS LAST, id COLLATE \"C\" DESC NULLS LAST)
                         FILTER (WHERE word IS NOT NULL AND at IS NOT NULL))[1] AS true_last,
                    (array_agg(word ORDER BY at, place NULLS FIRST, id COLLATE \"C\" NULLS FIRST)
                         FILTER (WHERE word IS NOT NULL AND at IS NOT NULL))[1] AS true_first
             FROM said GROUP BY topic) x
         WHERE last IS DISTINCT FROM true_last OR first IS DISTINCT FROM true_first",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(
        db.lines(
            "SELECT agent_metrics_internal.latest(word, at, place, id) FROM said WHERE topic < 0"
        ),
        [""]
    );
}

#[test]
fn turns_that_arrive_add_up_to_what_sql_says_of_them() {
    let db = db("facts_sums");
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'Head of Support'),
                agent_metrics.register_agent('sal', 'sales', 'Head of Sales')",
    );
    // Quarters of an hour that lie in two hours (Monrovia was 44 minutes and 30 seconds behind until 1972), half hours,
    // clocks put forward and back; labels of every source, at the same moment too; what is not known.
    for (at, zone) in [
        "Africa/Monrovia",
        "Asia/Kathmandu",
        "America/St_Johns",
        "UTC",
    ]
    .into_iter()
    .enumerate()
    {
        db.exec(&format!(
            "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
        ));
        refresh(&db);
        // Buckets of five minutes lie in hours wherever the clock differs by a multiple of five minutes.
        let first = if at == 0 { "sal" } else { "sup" };
        db.exec(&format!(
            "WITH turn AS (
                 SELECT n, ('x' || left(md5('{at}' || n), 8))::bit(32)::bigint AS dice
                 FROM generate_series(1, 800) AS n)
             INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, user_id, tools_called, latency_ms, token_usage_input,
                 token_usage_output, cost_usd, outcome_label, outcome_source, business_event_id,
                 turn_index, error, is_eval)
             SELECT (ARRAY['{first}', 'sal', 'nobody'])[1 + n % 3],
                    (ARRAY['1971-12-31 22:00+00', '1999-12-31 23:00+00', '2026-03-08 04:00+00',
                           '2026-11-01 03:00+00'])[1 + dice % 4]::timestamptz
                        + (n % 97) * interval '7 minutes 30 seconds' - (dice % 3) * interval '1 microsecond',
                    'c{at}-' || dice % 200, CASE WHEN dice % 5 > 0 THEN (ARRAY['ä', 'Z', 'a'])[1 + dice % 3] END,
                    CASE dice % 4 WHEN 0 THEN '[]'::jsonb
                                  WHEN 1 THEN to_jsonb(array_fill('tool'::text, ARRAY[(dice % 90)::integer])) END,
                    CASE WHEN dice % 7 > 0 THEN dice % 100000 / 7.0 WHEN n % 2 = 0 THEN 1e9 END,
                    CASE WHEN dice % 3 > 0 THEN dice % 1000 END, CASE WHEN dice % 4 > 0 THEN dice % 100 END,
                    CASE dice % 6 WHEN 0 THEN NULL WHEN 1 THEN 0 WHEN 2 THEN 0.00
                                  ELSE (dice % 1000)::numeric / (1 + n % 13) END,
                    CASE WHEN dice % 2 = 0
                         THEN (ARRAY['success', 'failure', 'escalated', 'what is this'])[1 + dice / 2 % 4] END,
                    (ARRAY['agent', 'judge', 'crm', 'human'])[1 + dice / 8 % 4],
                    CASE WHEN dice % 50 = 0 THEN 'order-' || dice % 10 END, CASE WHEN n % 5 > 0 THEN n % 3 END,
                    CASE WHEN dice % 11 = 0 THEN 'timeout' END, dice % 17 = 0
             FROM turn"
        ));
        refresh(&db);
        assert_rollups(&db);
    }
    assert!(db.number("SELECT count(*) FROM agent_metrics.conversations") > 500.0);
}

#[test]
fn deltas_of_a_bucket_add_up() {
    let db = db("facts_deltas");
    db.exec(
        "CREATE TABLE delta AS
         SELECT (ROW('a' || n % 3, '2026-01-01 00:00+00'::timestamptz + n % 2 * interval '1 hour',
                     n, NULL, n % 7, -n, 1, 2, 3,
                     CASE n % 4 WHEN 0 THEN 0 WHEN 1 THEN NULL WHEN 2 THEN 0.00 ELSE n / 7.0 END,
                     CASE WHEN n % 2 = 0
                          THEN (SELECT agent_metrics.quantile_sketch(v::double precision)
                                FROM generate_series(1, n) AS v) END,
                     1, 1, 1, 1, 1, 1, 1, 1, n, -n / 3.0, 0, n * 1e20, 1e-9, n, n, 5,
                     6)::agent_metrics_internal.rollup_delta).*
         FROM generate_series(1, 60) AS n",
    );
    assert_eq!(
        db.lines(
            "SELECT s.agent_id, s.bucket, s.turns, s.token_turns, s.tokens_output, s.cost_usd, s.latency, s.automations,
                    s.unit_cost_usd, s.cost_usd_squared, s.tokens_squared, s.turns_squared, s.leads, s.qualified_leads
             FROM (SELECT (agent_metrics_internal.sum_deltas(ROW(d.*)::agent_metrics_internal.rollup_delta, d.bucket)).*
                   FROM delta d GROUP BY d.agent_id, d.bucket) s ORDER BY 1, 2"
        ),
        db.lines(
            "SELECT d.agent_id, d.bucket, sum(d.turns), coalesce(sum(d.token_turns), 0),
                    sum(d.tokens_output), sum(d.cost_usd), agent_metrics.merge(d.latency),
                    sum(d.automations), sum(d.unit_cost_usd), sum(d.cost_usd_squared),
                    sum(d.tokens_squared), sum(d.turns_squared), sum(d.leads),
                    sum(d.qualified_leads)
             FROM delta d GROUP BY 1, 2 ORDER BY 1, 2"
        )
    );
    assert_sqlstate(
        &db,
        "SELECT agent_metrics_internal.sum_deltas(jsonb_populate_record(NULL::agent_metrics_internal.rollup_delta,
             '{\"agent_id\": \"a\", \"turns\": 9223372036854775807}'), now())
         FROM generate_series(1, 2)",
        "22003",
    );
}
