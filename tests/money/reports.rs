//! A report replaces what was known of its account and time: again, regrouped, in pages, with bad lines, in closed
//! books.

use std::future::poll_fn;

use tokio_postgres::{AsyncMessage, NoTls};

use crate::support::asserts::{assert_explained, assert_no_rows};
use crate::support::rollups::refresh;
use crate::support::shop::shop;
use crate::support::{Db, Session, db};

/// Notices of a statement.
fn notices(db: &Db, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, mut connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
        let heard = tokio::spawn(async move {
            let mut words = Vec::new();
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notice(notice) = message {
                    words.push(notice.message().to_owned());
                }
            }
            words
        });
        client.simple_query(sql).await.unwrap();
        drop(client);
        heard.await.unwrap()
    })
}

/// 2026-03-01, in seconds since 1970.
const MARCH: i64 = 1_772_323_200;

/// A bucket of OpenAI's costs: day of March 2026, and its results as JSON without the braces.
fn bucket(day: i64, results: &[&str]) -> String {
    let start = MARCH + (day - 1) * 86_400;
    let results: Vec<String> = results
        .iter()
        .map(|result| format!("{{\"object\": \"organization.costs.result\", {result}}}"))
        .collect();
    format!(
        "{{\"object\": \"bucket\", \"start_time\": {start}, \"end_time\": {}, \"results\": [{}]}}",
        start + 86_400,
        results.join(", ")
    )
}

/// One page.
fn page(buckets: &[String], has_more: bool) -> String {
    format!(
        "{{\"object\": \"page\", \"data\": [{}], \"has_more\": {has_more}, \"next_page\": null}}",
        buckets.join(", ")
    )
}

fn cost(value: &str, item: &str) -> String {
    let item = if item == "null" {
        item.to_owned()
    } else {
        format!("\"{item}\"")
    };
    format!(
        "\"amount\": {{\"value\": {value}, \"currency\": \"usd\"}}, \"line_item\": {item}, \"project_id\": null"
    )
}

/// What an import of OpenAI's costs answers: stored, repeated, corrected, dollars, removed, refused.
fn import(session: &Session, report: &str) -> String {
    session
        .lines(&format!(
            "SELECT * FROM agent_metrics.import_openai_costs($json${report}$json$)"
        ))
        .remove(0)
}

fn bills(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT extract(day FROM period_start AT TIME ZONE 'UTC'), coalesce(description, '-'), amount_usd
         FROM agent_metrics.billing_lines ORDER BY 1, 2",
    )
}

#[test]
fn a_day_is_what_its_latest_report_says() {
    let db = db("reports_latest");
    let day = |results: &[&str]| page(&[bucket(1, results)], false);
    let (input, output) = (cost("3", "m, input"), cost("2", "m, output"));
    assert_eq!(import(&db, &day(&[&cost("5", "null")])), "1|0|0|5|0|0");
    // grouped otherwise
    assert_eq!(import(&db, &day(&[&input, &output])), "2|0|0|5|1|0");
    // columns come and go
    let wider = format!("{input}, \"api_key_id\": null, \"quantity\": 7");
    assert_eq!(import(&db, &day(&[&output, &wider])), "0|2|0|5|0|0");
    // one is corrected, one is gone, one is new
    assert_eq!(
        import(
            &db,
            &day(&[&cost("3.5", "m, input"), &cost("1", "n, input")])
        ),
        "1|0|1|4.5|1|0"
    );
    // two lines about the same are two
    assert_eq!(import(&db, &day(&[&input, &input, &output])), "2|0|1|8|1|0");
    assert_eq!(
        bills(&db),
        ["1|m, input|3", "1|m, input|3", "1|m, output|2"]
    );
    // a day of which nothing is left, and one beside it that is not touched
    import(&db, &page(&[bucket(2, &[&cost("9", "m, input")])], false));
    assert_eq!(import(&db, &day(&[])), "0|0|0|0|3|0");
    assert_eq!(bills(&db), ["2|m, input|9"]);
    // another account is nobody else's, nor is a line that somebody wrote by hand
    db.exec(
        "INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd)
         VALUES ('openai', '2026-03-02 00:00+00', '2026-03-03 00:00+00', 1)",
    );
    let report = page(&[bucket(2, &[&cost("4", "m, input")])], false);
    db.exec(&format!(
        "SELECT agent_metrics.import_openai_costs($json${report}$json$, account => 'org-2')"
    ));
    assert_eq!(bills(&db), ["2|-|1", "2|m, input|9", "2|m, input|4"]);
}

#[test]
fn pages_of_one_report_count_together_and_missing_ones_are_said() {
    let db = db("reports_pages");
    let first = page(
        &[
            bucket(1, &[&cost("1", "a, input")]),
            bucket(2, &[&cost("2", "a, input")]),
        ],
        true,
    );
    let second = page(
        &[
            bucket(2, &[&cost("3", "b, input")]),
            bucket(3, &[&cost("4", "a, input")]),
        ],
        false,
    );
    let all = [
        "1|a, input|1",
        "2|a, input|2",
        "2|b, input|3",
        "3|a, input|4",
    ];
    let sql =
        |report: &str| format!("SELECT agent_metrics.import_openai_costs($json${report}$json$)");
    // as one list, in which one page may be twice
    assert_eq!(
        import(&db, &format!("[{first}, {second}, {first}]")),
        "4|0|0|10|0|0"
    );
    assert_eq!(bills(&db), all);
    // one after the other: the second has a line of a day that the first had too
    db.exec("DELETE FROM agent_metrics.billing_lines");
    let missing = "the report has more pages, which are missing";
    assert_eq!(notices(&db, &sql(&first)), [missing]);
    assert_eq!(notices(&db, &sql(&second)), Vec::<String>::new());
    assert_eq!(bills(&db), all);
    // and again, each twice, as whoever retries does
    for report in [&first, &first, &second] {
        import(&db, report);
    }
    assert_eq!(bills(&db), all);
    // the report was complete: what comes now is another
    assert_eq!(
        import(&db, &page(&[bucket(2, &[&cost("7", "c, input")])], false)),
        "1|0|0|7|2|0"
    );
    // a page that stayed alone, then the whole day grouped otherwise
    import(&db, &page(&[bucket(5, &[&cost("5", "null")])], true));
    import(&db, &page(&[bucket(5, &[&cost("5", "a, input")])], false));
    assert_eq!(bills(&db).last().unwrap(), "5|a, input|5");
    assert_eq!(
        db.number(
            "SELECT sum(amount_usd) FROM agent_metrics.billing_lines
                          WHERE period_start = '2026-03-05 00:00+00'"
        ),
        5.0
    );
    // a page in the middle that is not there
    let gap = page(&[bucket(7, &[]), bucket(9, &[])], false);
    assert_eq!(
        notices(&db, &sql(&gap)),
        ["the report says nothing of days in its middle"]
    );
}

#[test]
fn one_bad_line_is_named_and_stops_no_other() {
    let db = db("reports_bad");
    let good = cost("1", "a, input");
    let bad = [
        cost("\"a lot\"", "b, input"),
        cost("1", "c, input").replace("usd", "eur"),
        "\"amount\": null".to_owned(),
        cost("1e12", "d, input"),
    ];
    let lines: Vec<&str> = [good.as_str()]
        .into_iter()
        .chain(bad.iter().map(String::as_str))
        .collect();
    let report = page(&[bucket(1, &lines), bucket(2, &[&bad[0]])], false);
    // what was known of a day of which every line is refused stays
    import(&db, &page(&[bucket(2, &[&cost("8", "a, input")])], false));
    assert_eq!(import(&db, &report), "1|0|0|1|0|5");
    assert_eq!(bills(&db), ["1|a, input|1", "2|a, input|8"]);
    assert_eq!(
        db.lines("SELECT DISTINCT reason FROM agent_kpi.refused_bills ORDER BY 1"),
        [
            "its amount is \"a lot\", which is no decimal number",
            "its amount is a trillion dollars or more",
            "its currency is \"NULL\", and money is in US dollars here",
            "its currency is \"eur\", and money is in US dollars here",
        ]
    );
    let sql = format!("SELECT agent_metrics.import_openai_costs($json${report}$json$)");
    assert_eq!(
        notices(&db, &sql),
        ["5 lines of the report were refused, the others are imported"]
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_kpi.refused_bills"),
        5.0
    );
    // mended
    import(
        &db,
        &page(&[bucket(1, &[&good]), bucket(2, &[&good])], false),
    );
    assert_no_rows(&db, "SELECT * FROM agent_kpi.refused_bills");
}

#[test]
fn amounts_are_exact_however_they_are_written() {
    let db = db("reports_amounts");
    let values = [
        ("12.50", "12.50"),
        ("\"12.50\"", "12.50"),
        (
            "\"0.1234567890123456789012345678901234567890\"",
            "0.1234567890123456789012345678901234567890",
        ),
        ("\"0E-6176\"", "0"),
        ("\"-1.5E+2\"", "-150"),
        ("6e-05", "0.00006"),
        ("\".5\"", "0.5"),
        ("\" 7 \"", "7"),
    ];
    for (value, amount) in values {
        let report = page(&[bucket(1, &[&cost(value, "a, input")])], false);
        import(&db, &report);
        assert_eq!(bills(&db), [format!("1|a, input|{amount}")], "{value}");
    }
    for value in [
        "\"1,5\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"\"",
        "\"1 USD\"",
        "true",
        "\"0x10\"",
    ] {
        let report = page(&[bucket(2, &[&cost(value, "a, input")])], false);
        assert_eq!(import(&db, &report), "0|0|0|0|0|1", "{value}");
    }
    // Anthropic counts in cents
    let anthropic = r#"{"data": [{"starting_at": "2026-03-01T00:00:00Z", "ending_at": "2026-03-02T00:00:00Z",
        "results": [{"currency": "USD", "amount": "0.1234567890123456789012345678901234567891", "description": "x",
                     "model": "m"}]}]}"#;
    assert_eq!(
        db.lines(&format!(
            "SELECT amount_usd FROM agent_metrics.import_anthropic_costs('{anthropic}')"
        )),
        ["0.001234567890123456789012345678901234567891"]
    );
}

#[test]
fn what_a_report_no_longer_has_is_an_adjustment_of_a_closed_month() {
    let db = shop("reports_closed");
    let report = |results: &[&str]| page(&[bucket(2, results)], false);
    import(
        &db,
        &report(&[&cost("5", "a, input"), &cost("2", "b, input")]),
    );
    refresh(&db);
    db.exec("SELECT agent_metrics.close_period('2026-03-20', 'Head of Finance')");
    let billed =
        "SELECT trim_scale(reported_value), trim_scale(known_value), trim_scale(value_change),
                         regexp_replace(why, '^[^:]*: ', '')
                  FROM agent_kpi.reported_and_known WHERE metric = 'billed_usd'";
    assert_eq!(db.lines(billed), ["7|7||"]);
    assert_eq!(
        import(&db, &report(&[&cost("5", "a, input")])),
        "0|1|0|5|1|0"
    );
    assert_eq!(db.lines(billed), ["7|5|-2|lines were removed"]);
    // recorded, and then one that is corrected
    db.exec("SELECT agent_metrics_internal.record_adjustments()");
    import(&db, &report(&[&cost("6", "a, input")]));
    assert_eq!(
        db.lines(
            "SELECT trim_scale(value_change), cause, is_recorded FROM agent_kpi.adjustments
             WHERE metric = 'billed_usd' ORDER BY adjusted_at"
        ),
        ["-2|lines were removed|t", "1|1 line of openai (6 usd)|f"]
    );
    // all of it is gone, and it is said
    assert_eq!(
        notices(
            &db,
            &format!(
                "SELECT agent_metrics.import_openai_costs($json${}$json$)",
                report(&[])
            )
        ),
        ["1 lines that earlier reports had are gone, of 6 usd"]
    );
    assert_eq!(
        db.lines(
            "SELECT trim_scale(sum(value_change)) FROM agent_kpi.adjustments WHERE metric = 'billed_usd'"
        ),
        ["-7"]
    );
}

#[test]
fn what_is_no_report_is_refused_and_changes_nothing() {
    let db = db("reports_refused");
    import(&db, &page(&[bucket(1, &[&cost("5", "a, input")])], false));
    let whole = page(&[bucket(1, &[])], false);
    for report in [
        "[]".to_owned(),
        "5".to_owned(),
        "{}".to_owned(),
        "[5]".to_owned(),
        "[[]]".to_owned(),
        "{\"data\": 5}".to_owned(),
        "{\"data\": [5]}".to_owned(),
        "{\"data\": [{\"results\": []}]}".to_owned(),
        whole.replace("\"results\": []", "\"results\": {}"),
        whole.replace("\"results\": []", "\"results\": [5]"),
        whole.replace("\"start_time\": 1", "\"start_time\": -1"),
        whole.replace("\"end_time\": ", "\"end_time\": \"x\", \"end\": "),
        format!("[{whole}, {{\"error\": \"rate limit\"}}]"),
    ] {
        for function in ["import_openai_costs", "import_anthropic_costs"] {
            // Anthropic's buckets have their times elsewhere, and a bucket without lines says nothing
            if function == "import_openai_costs" || !report.contains("\"results\": []") {
                assert_explained(
                    &db,
                    &format!("SELECT agent_metrics.{function}($json${report}$json$)"),
                    "22023",
                    "this is no",
                );
            }
        }
    }
    assert_eq!(bills(&db), ["1|a, input|5"]);
}

#[test]
fn two_imports_of_one_day_at_once_leave_one() {
    let db = db("reports_at_once");
    let sessions: Vec<Session> = (0..4).map(|_| db.session()).collect();
    std::thread::scope(|scope| {
        for (n, session) in sessions.iter().enumerate() {
            scope.spawn(move || {
                for turn in 0..10 {
                    let item = format!("model-{n}-{turn}, input");
                    import(session, &page(&[bucket(1, &[&cost("5", &item)])], false));
                }
            });
        }
    });
    assert_eq!(
        db.lines("SELECT count(*), sum(amount_usd) FROM agent_metrics.billing_lines"),
        ["1|5"]
    );
}
