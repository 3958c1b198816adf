//! What the hot path does in Rust, held against the plain SQL it stands for: a turn's amounts, the latest of some rows.

use crate::harness::db;

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
                 SELECT u.a::numeric FROM unnest(ARRAY['0', '0.000', '-0', '1', '9999', '10000', '99999999', '100000000', '999999999999',
                     '999999999999.9999999999999999999', '1000000000000', '1000000000000.0', '1000000000000.00000001', '1e13', '1e15', '1e16', '1e17',
                     '1e-1', '1e-4', '1e-5', '1e-200', '1e-250', '1e-270', '1e-300', '1e-1000', '1e300', '1e1000', '1e100000', '-1e-300', '-1', '-1e12',
                     'NaN', 'Infinity', '-Infinity']) AS u (a)
                 UNION ALL
                 SELECT (CASE WHEN random() < 0.1 THEN -1 ELSE 1 END * random()::numeric * 10::numeric ^ (random() * 40 - 20)::integer)::numeric
                 FROM generate_series(1, 4000)
             LOOP
                 BEGIN
                     INSERT INTO judged VALUES (amount, agent_metrics.check_turn(now(), NULL, NULL, NULL, NULL, NULL, NULL, amount, NULL));
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
    let counts = db.lines("SELECT count(*) > 4000, count(*) FILTER (WHERE is_taken) > 1000, count(*) FILTER (WHERE NOT is_taken) > 500 FROM judged");
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
                CASE WHEN random() < 0.9 THEN CASE WHEN random() < 0.05 THEN '-infinity' ELSE timestamptz '2026-01-01' + (random() * 4)::integer * interval '1 day' END END AS at,
                CASE WHEN random() < 0.7 THEN (random() * 3)::integer END AS place,
                CASE WHEN random() < 0.9 THEN md5((random() * 4)::integer::text) END AS id
         FROM generate_series(1, 4000) AS n",
    );
    // Rows that agree in all three say the same: which of them is meant nobody can tell.
    db.exec(
        "UPDATE said s SET word = k.word
             FROM (SELECT topic, at, place, id, min(word) AS word FROM said WHERE word IS NOT NULL GROUP BY topic, at, place, id) k
             WHERE s.topic = k.topic AND s.at IS NOT DISTINCT FROM k.at AND s.place IS NOT DISTINCT FROM k.place
               AND s.id IS NOT DISTINCT FROM k.id AND s.word IS NOT NULL",
    );
    let wrong = db.lines(
        "SELECT * FROM (
             SELECT topic, agent_metrics.latest(word, at, place, id) AS last, agent_metrics.earliest(word, at, place, id) AS first,
                    (array_agg(word ORDER BY at DESC, place DESC NULLS LAST, id COLLATE \"C\" DESC NULLS LAST) FILTER (WHERE word IS NOT NULL AND at IS NOT NULL))[1] AS true_last,
                    (array_agg(word ORDER BY at, place NULLS FIRST, id COLLATE \"C\" NULLS FIRST) FILTER (WHERE word IS NOT NULL AND at IS NOT NULL))[1] AS true_first
             FROM said GROUP BY topic) x
         WHERE last IS DISTINCT FROM true_last OR first IS DISTINCT FROM true_first",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(
        db.lines("SELECT agent_metrics.latest(word, at, place, id) FROM said WHERE topic < 0"),
        [""]
    );
}
