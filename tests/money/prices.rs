//! What a turn costs by the price list, and prices that change. What providers bill is in bills.rs.

use std::thread;

use crate::support::asserts::{assert_no_rows, assert_refused, assert_sqlstate};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, db};

/// The prices of statistics.md's worked example.
const PRICES: &str = "
INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million) VALUES
    ('anthropic', 'large', 'input', 3), ('anthropic', 'large', 'cache_read', 0.30),
    ('anthropic', 'large', 'cache_write', 3.75), ('anthropic', 'large', 'output', 15);";

pub fn priced(name: &str) -> Db {
    let db = db(name);
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support')");
    db.exec(PRICES);
    db
}

/// A turn of the worked example, or another as the arguments say.
pub fn turn(session: &Session, conversation: &str, at: &str, model: &str, cost: &str) {
    session.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, model,
                                                 cost_usd, token_usage_input, token_usage_output,
                                                 token_usage_cache_read, token_usage_cache_write)
         VALUES ('bot', '{at}', '{conversation}', {model}, {cost}, 11000, 500, 8000, 2000)"
    ));
}

fn costs(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT conversation_id, cost_usd, cost_usd = computed_cost_usd
         FROM agent_metrics.agent_events ORDER BY conversation_id",
    )
}

#[test]
fn the_worked_price_and_what_has_none() {
    let db = priced("prices_worked");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('openai', 'twice', 'input', 1), ('azure', 'twice', 'input', 2),
                ('openai', 'half', 'input', 1)",
    );
    for (arguments, cost) in [
        (
            "'anthropic', 'large', now(), 11000, 500, 8000, 2000",
            "0.0204",
        ),
        ("NULL, 'large', now(), 11000, 500, 8000, 2000", "0.0204"), // alone in having a price
        ("NULL, 'large', now(), 11000, 500, NULL, NULL", "0.0405"), // nothing cached
        ("NULL, 'large', now(), 0, 0, 0, 0", "0"),
        ("'openai', 'large', now(), 11000, 500, 8000, 2000", ""),
        ("NULL, 'unknown', now(), 0, 0, 0, 0", ""),
        ("NULL, NULL, now(), 10, 10, 0, 0", ""),
        ("NULL, 'large', now(), NULL, 10, 0, 0", ""),
        ("NULL, 'large', now(), 10, NULL, 0, 0", ""),
        ("NULL, 'large', now(), 10, 10, 8, 3", ""), // more cached than there are
        ("NULL, 'twice', now(), 10, 0, 0, 0", ""),  // whose price?
        ("'azure', 'twice', now(), 1000000, 0, 0, 0", "2"),
        ("NULL, 'half', now(), 10, 1, 0, 0", ""), // output has no price
    ] {
        assert_eq!(
            db.value(&format!("SELECT agent_metrics.turn_cost({arguments})"))
                .unwrap_or_default(),
            cost,
            "{arguments}"
        );
    }
}

#[test]
fn turns_without_a_cost_are_priced_when_they_arrive_and_the_producers_cost_wins() {
    let db = priced("prices_arrive");
    db.exec("DELETE FROM agent_metrics.token_prices");
    assert_eq!(db.number("SELECT agent_metrics.price_events()"), 0.0);
    db.exec(PRICES);
    turn(&db, "a", "2026-03-01 10:00+00", "'large'", "NULL");
    turn(&db, "b", "2026-03-01 10:00+00", "'large'", "0.5");
    turn(&db, "c", "2026-03-01 10:00+00", "'new'", "NULL");
    // one that is open while the others are priced
    let late = db.session();
    late.exec("BEGIN");
    turn(&late, "d", "2026-03-01 10:00+00", "'large'", "NULL");
    assert_eq!(db.number("SELECT agent_metrics.price_events()"), 1.0);
    refresh(&db);
    late.exec("COMMIT");
    assert_eq!(db.number("SELECT agent_metrics.price_events('bot')"), 1.0);
    assert_eq!(db.number("SELECT agent_metrics.price_events()"), 0.0);
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(costs(&db), ["a|0.0204|t", "b|0.5|", "c||", "d|0.0204|t"]);
    // older than a month
    assert_no_rows(&db, "SELECT model, reason FROM agent_kpi.unpriced_models");
    assert_eq!(
        db.lines("SELECT turns, priced_turns, coverage_rate FROM agent_kpi.cost_coverage WHERE day = '2026-03-01'"),
        ["4|3|0.75"]
    );
    // batches: as many as are asked for, and nothing is left out
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
         SELECT 'bot', now() - n * interval '1 s', 'n' || n,
                CASE WHEN n <= 5 THEN 'large' ELSE 'new' END, 1000, 100
         FROM generate_series(1, 8) AS n",
    );
    for batch in [2.0, 2.0, 1.0, 0.0] {
        assert_eq!(
            db.number("SELECT agent_metrics.price_events(NULL, 2)"),
            batch
        );
    }
    assert_eq!(
        db.lines("SELECT agent_id, model, turns, reason FROM agent_kpi.unpriced_models"),
        ["bot|new|3|the model has no price"]
    );
}

#[test]
fn a_changed_price_changes_history_only_when_it_is_told_to() {
    let db = priced("prices_change");
    // the input price doubles at noon
    db.exec(
        "UPDATE agent_metrics.token_prices
         SET effective_to = '2026-03-01 12:00+00' WHERE usage_type = 'input';
         INSERT INTO agent_metrics.token_prices (
             provider, model, usage_type, usd_per_million, effective_from)
         VALUES ('anthropic', 'large', 'input', 6, '2026-03-01 12:00+00')",
    );
    turn(&db, "a", "2026-03-01 11:59:59.999999+00", "'large'", "NULL");
    turn(&db, "b", "2026-03-01 12:00+00", "'large'", "NULL");
    turn(&db, "c", "2026-03-01 12:00+00", "'large'", "0.5");
    turn(&db, "d", "2026-03-01 12:00+00", "'new'", "NULL");
    works(db.url(), &["once"]); // the program prices before it refreshes
    assert_rollups(&db);
    assert_eq!(costs(&db), ["a|0.0204|t", "b|0.0234|t", "c|0.5|", "d||"]);
    db.exec("UPDATE agent_metrics.token_prices SET usd_per_million = 20 WHERE usage_type = 'output';
             INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
             SELECT 'anthropic', 'new', u, 1 FROM unnest(ARRAY['input', 'cache_read', 'cache_write', 'output']) AS u");
    works(db.url(), &["refresh"]);
    assert_eq!(costs(&db), ["a|0.0204|t", "b|0.0234|t", "c|0.5|", "d||"]);
    let dry = "SELECT model, turns, before_usd, after_usd, difference_usd, is_done
               FROM agent_metrics.reprice('bot', '2026-03-01', '2026-03-02'";
    let expected = |is_done| {
        [
            format!("large|2|0.0438|0.0488|0.0050|{is_done}"),
            format!("new|1||0.0115|0.0115|{is_done}"),
        ]
    };
    assert_eq!(db.lines(&format!("{dry})")), expected("f"));
    assert_eq!(costs(&db), ["a|0.0204|t", "b|0.0234|t", "c|0.5|", "d||"]);
    assert_eq!(
        db.lines(&format!("{dry}, dry_run => false)")),
        expected("t")
    );
    assert_eq!(
        costs(&db),
        ["a|0.0229|t", "b|0.0259|t", "c|0.5|", "d|0.0115|t"]
    );
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(&db, &format!("{dry})"));
    // a cost that the producer writes later is his
    db.exec(
        "UPDATE agent_metrics.agent_events SET cost_usd = 0.7 WHERE conversation_id = 'a';
         UPDATE agent_metrics.token_prices SET usd_per_million = 30 WHERE usage_type = 'output'",
    );
    db.exec("SELECT agent_metrics.reprice(NULL, '2026-03-01', '2026-03-02', false)");
    assert_eq!(costs(&db), ["a|0.7|f", "b|0.0309|t", "c|0.5|", "d|0.026|t"]);
    for span in [
        "'2026-03-01', NULL",
        "NULL, '2026-03-01'",
        "'2026-03-01', '2026-03-01'",
    ] {
        assert_sqlstate(
            &db,
            &format!("SELECT agent_metrics.reprice('bot', {span})"),
            "22023",
        );
    }
}

#[test]
fn impossible_prices_and_windows_that_overlap_are_refused() {
    let db = priced("prices_refused");
    let before = db.lines("SELECT * FROM agent_metrics.token_prices");
    let columns = "INSERT INTO agent_metrics.token_prices (
                       provider, model, usage_type, usd_per_million, effective_from, effective_to)
                   VALUES";
    for (values, sqlstate, words) in [
        (
            "('anthropic', 'large', 'input', 3, '2026-01-01', '2026-02-01')",
            "23P01",
            "overlaps another",
        ),
        (
            "('anthropic', 'large', 'thinking', 3, '2026-01-01', '2026-02-01')",
            "22023",
            "unknown usage type \"thinking\"",
        ),
        (
            "('anthropic', 'x', 'input', -1, '2026-01-01', '2026-02-01')",
            "22003",
            "impossible price -1",
        ),
        (
            "('anthropic', 'x', 'input', 'NaN', '2026-01-01', '2026-02-01')",
            "22003",
            "impossible price NaN",
        ),
        (
            "('anthropic', 'x', 'input', NULL, '2026-01-01', '2026-02-01')",
            "22003",
            "impossible price NULL",
        ),
        (
            "('anthropic', 'x', 'input', 1, '2026-01-01', '2026-01-01')",
            "22023",
            "before it begins",
        ),
        (
            "(' ', 'x', 'input', 1, '2026-01-01', '2026-02-01')",
            "23514",
            "",
        ),
    ] {
        let error = assert_refused(&db, &format!("{columns} {values}"), sqlstate, words);
        assert!(
            sqlstate == "23514" || (!error.detail.is_empty() && !error.hint.is_empty()),
            "{error}"
        );
    }
    assert_sqlstate(
        &db,
        "UPDATE agent_metrics.token_prices SET usage_type = 'output' WHERE usage_type = 'input'",
        "23P01",
    );
    assert_eq!(db.lines("SELECT * FROM agent_metrics.token_prices"), before);
    // two at once that do not see each other: the constraint stands behind the words
    let sessions: Vec<Session> = (0..2).map(|_| db.session()).collect();
    let taken: usize = thread::scope(|scope| {
        let sql = |n| {
            format!(
                "DO $$ BEGIN {columns} ('p', 'm', 'input', 1, '2026-01-0{n}', '2026-02-01');
                       EXCEPTION WHEN exclusion_violation OR deadlock_detected THEN
                           PERFORM set_config('a.refused', 'yes', false); END $$"
            )
        };
        let writers: Vec<_> = sessions
            .iter()
            .zip(1..)
            .map(|(session, n)| {
                scope.spawn(move || {
                    session.exec(&sql(n));
                    session
                        .value("SELECT current_setting('a.refused', true)")
                        .unwrap_or_default()
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .filter(|refused| refused.is_empty())
            .count()
    });
    assert_eq!(taken, 1);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.token_prices WHERE provider = 'p'"),
        1.0
    );
}
