//! `agent-metrics init`: a log and a CRM's table become four tiles, and what is not understood changes nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::asserts::assert_verified;
use crate::support::program::{program, works};
use crate::support::{Db, db, empty_db};

/// Files of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("am_{name}_{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What every call here says.
fn arguments<'a>(from: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec![
        "init",
        "--no-questions",
        "--agent",
        "bot",
        "--owner",
        "Head of Support",
        "--from",
        from,
    ];
    if !more.contains(&"--kind") {
        all.extend(["--kind", "support"]);
    }
    all.extend(more);
    all
}

const LABELS: [&str; 4] = ["--label", "SOLVED=resolved", "--label", "HANDOFF=escalated"];

/// Sixty conversations of two turns within the last days, in local time of Berlin; a third was handed to people.
fn log(db: &Db) -> String {
    let rows = db.lines(
        "SELECT format('%s;s-%s;%s;user %s;model-a;%s;%s;%s;\"look|ask\";%s',
                       to_char((now() - interval '2 days' + make_interval(mins => n, secs => t))
                                   AT TIME ZONE 'Europe/Berlin',
                               'DD.MM.YYYY HH24:MI:SS'),
                       n, t, n % 7, 100 + n, 10, 500 + n, CASE WHEN t = 2 THEN CASE n % 3 WHEN 0 THEN 'HANDOFF'
                                                                              ELSE 'SOLVED' END END)
         FROM generate_series(1, 60) n, generate_series(1, 2) t ORDER BY n, t",
    );
    format!(
        "ts;Session ID;turn;user;model;prompt_tokens;completion_tokens;duration_ms;tools;status\n{}\n",
        rows.join("\n")
    )
}

fn tickets(db: &Db) {
    db.exec(
        "CREATE SCHEMA crm;
         CREATE TABLE crm.tickets (id bigint PRIMARY KEY, status text, solved_at timestamptz, chat_session text);
         INSERT INTO crm.tickets SELECT n, CASE WHEN n % 3 = 0 THEN 'reopened!' ELSE 'solved' END,
                                        now() - interval '1 day', 's-' || n FROM generate_series(1, 30) n",
    );
}

#[test]
fn a_log_and_a_table_become_four_tiles_and_the_sql_is_kept() {
    let (db, folder) = (empty_db("init"), Folder::new("init"));
    tickets(&db);
    let file = folder.file("log.csv", log(&db));
    let mut flags = LABELS.to_vec();
    flags.extend([
        "--time-zone",
        "Europe/Berlin",
        "--crm",
        "crm.tickets",
        "--channel",
        "slack=AGENT_METRICS_URL",
    ]);
    flags.extend(["--event", "solved=resolved", "--event", "reopened!=failure"]);
    let (code, sql, said) = program(db.url(), &arguments(&file, &flags));
    assert_eq!(code, 0, "{said}");
    for words in [
        "120 turns are stored",
        "30 events of crm.tickets",
        "refreshed bot",
        "task_success_rate",
        "--listen",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }

    // each column where it belongs, moments of Berlin
    assert_eq!(
        db.lines(
            "SELECT count(*), count(DISTINCT e.conversation_id), count(DISTINCT e.user_id), sum(e.token_usage_input),
                    sum(e.latency_ms), min(e.tools_called::text), max(e.turn_index),
                    bool_and(e.occurred_at BETWEEN now() - interval '49 hours' AND now() - interval '46 hours')
             FROM agent_metrics.agent_events e WHERE e.agent_id = 'bot'"
        ),
        ["120|60|7|15660|63660|[\"look\", \"ask\"]|2|t"]
    );
    assert_verified(&db);
    // the tile is plain SQL over what was given: of the 30 with a ticket its word counts, else the label
    assert_eq!(
        db.value(
            "SELECT round(t.value_30d::numeric, 6) = round(x.share, 6)
             FROM agent_kpi.cfo_tiles t,
                  (SELECT avg(CASE WHEN n % 3 = 0 THEN 0.0 ELSE 1.0 END) AS share FROM generate_series(1, 60) n) x
             WHERE t.agent_id = 'bot' AND t.metric = 'task_success_rate'"
        )
        .as_deref(),
        Some("t")
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_kpi.cfo_tiles WHERE agent_id = 'bot'"),
        4.0
    );

    // again: nothing is stored twice, and nothing has to be said twice
    let (code, _, again) = program(db.url(), &arguments(&file, &["--crm", "crm.tickets"]));
    assert_eq!(code, 0, "{again}");
    assert!(
        again.contains("0 turns are stored; 120 rows were stored before"),
        "{again}"
    );
    assert!(again.contains("crm.tickets is attached already"), "{again}");

    // standard output is a script, which does the same elsewhere
    let other = empty_db("init_kept");
    tickets(&other);
    let kept = folder.file("init.sql", sql);
    let bindir = Command::new(std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into()))
        .arg("--bindir")
        .output();
    let psql =
        PathBuf::from(String::from_utf8(bindir.unwrap().stdout).unwrap().trim()).join("psql");
    let ran = Command::new(psql)
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f", &kept, other.url()])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let turns =
        "SELECT to_jsonb(e) - 'recorded_in' FROM agent_metrics.agent_events e ORDER BY e.event_id";
    assert_eq!(other.lines(turns), db.lines(turns));
    let tiles = "SELECT metric, value_30d, verdict FROM agent_kpi.cfo_tiles WHERE agent_id = 'bot' ORDER BY metric";
    assert_eq!(other.lines(tiles), db.lines(tiles));
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let (db, folder) = (empty_db("init_bad"), Folder::new("init_bad"));
    tickets(&db);
    let good = folder.file("log.csv", log(&db));
    let csv = |name: &str, rows: &str| {
        folder.file(name, format!("ts,session,status,prompt_tokens\n{rows}\n"))
    };
    let zone = ["--time-zone", "UTC"];
    let row = "2026-11-01 10:00:00,s,resolved,5";
    let with = |more: &[&'static str]| -> Vec<&'static str> { [&zone[..], more].concat() };
    let cases: Vec<(String, Vec<&str>, &str)> = vec![
        (good.clone(), vec![], "give --time-zone"),
        (good.clone(), zone.to_vec(), "--label 'SOLVED=...'"),
        (
            good.clone(),
            with(&["--label", "SOLVED=won", "--label", "HANDOFF=escalated"]),
            "\"won\" is no meaning",
        ),
        (good.clone(), with(&["--label", "SOLVED"]), "has no ="),
        (
            good.clone(),
            vec!["--time-zone", "Mars/Olympus"],
            "knows no such zone",
        ),
        (good.clone(), with(&["--kind", "butler"]), "no such kind"),
        (
            good.clone(),
            with(&["--map", "conversation_id=nowhere"]),
            "has no column \"nowhere\"",
        ),
        (
            good.clone(),
            with(&["--map", "colour=ts"]),
            "a turn has no colour",
        ),
        (
            good.clone(),
            with(&["--map", "latency_ms=duration_ms:weeks"]),
            "a unit is s, ms, us or ns",
        ),
        (
            good.clone(),
            [&zone[..], &LABELS, &["--crm", "crm.nothing"]].concat(),
            "no table crm.nothing",
        ),
        (
            good.clone(),
            [&zone[..], &LABELS, &["--crm", "crm.tickets"]].concat(),
            "--event 'solved=...'",
        ),
        (
            good,
            [&zone[..], &LABELS, &["--channel", "pigeon=X"]].concat(),
            "no channel of kind pigeon",
        ),
        (
            "/nowhere/log.csv".to_owned(),
            zone.to_vec(),
            "no file that can be read",
        ),
        (folder.file("empty.csv", ""), zone.to_vec(), "is empty"),
        (
            folder.file("wide.csv", b"\xff\xfea\0b\0"),
            zone.to_vec(),
            "UTF-16",
        ),
        (
            folder.file("latin.csv", b"ts,session\n1,m\xfcller\n"),
            zone.to_vec(),
            "--encoding WIN1252",
        ),
        (
            folder.file("one.csv", "nothing\nx\n"),
            zone.to_vec(),
            "no comma, semicolon, tab",
        ),
        (
            folder.file("names.csv", "a,b\n1,2\n"),
            zone.to_vec(),
            "which column of",
        ),
        (folder.file("list.json", "[\n{}]"), zone.to_vec(), "jq -c"),
        (
            folder.file("half.jsonl", "{\"ts\": 1\n"),
            zone.to_vec(),
            "jq -c",
        ),
        (
            folder.file("bad.jsonl", "{\"ts\": 1, \"session\": 2}\n{\"ts\"\n"),
            zone.to_vec(),
            "line 2",
        ),
        (
            folder.file("none.csv", "ts,session\n"),
            zone.to_vec(),
            "has no row",
        ),
        (
            csv("more.csv", &format!("{row}\n{row},6")),
            zone.to_vec(),
            "line 3",
        ),
        (
            csv("number.csv", &format!("{row}\n2026-11-01 10:00:00,s,,n/a")),
            zone.to_vec(),
            "1 of 2 rows it is no whole number, such as \"n/a\"",
        ),
        (
            csv("time.csv", "yesterday,s,,"),
            zone.to_vec(),
            "--time-format",
        ),
        (
            csv("day.csv", "03/04/2026 10:00,s,,"),
            zone.to_vec(),
            "read in two ways",
        ),
        (
            csv("day31.csv", "31.02.2026 10:00,s,,"),
            zone.to_vec(),
            "31.02.2026",
        ),
        (
            csv("nobody.csv", "2026-11-01 10:00:00,,resolved,5"),
            zone.to_vec(),
            "1 of 1 rows have no conversation_id",
        ),
    ];
    for (from, flags, words) in cases {
        let (code, _, said) = program(db.url(), &arguments(&from, &flags));
        assert_eq!(code, 1, "{from} {flags:?}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("agent-metrics: ") && last.contains(words),
            "{words}: {said}"
        );
        assert_eq!(
            db.value("SELECT count(*) FROM pg_extension WHERE extname = 'agent_metrics'")
                .as_deref(),
            Some("0"),
            "{from} {flags:?}"
        );
    }
    // and without an agent nothing begins
    let said = fails_with(&db, &["init", "--no-questions"]);
    assert!(said.contains("give --agent"), "{said}");
}

/// The line of an error; the script that was begun is on standard output.
fn fails_with(db: &Db, arguments: &[&str]) -> String {
    let (code, _, said) = program(db.url(), arguments);
    assert_eq!(code, 1, "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_preview_shows_all_and_keeps_nothing() {
    let (db, folder) = (empty_db("init_preview"), Folder::new("init_preview"));
    let file = folder.file("log.csv", log(&db));
    let flags = [&LABELS[..], &["--time-zone", "UTC", "--preview"]].concat();
    let (code, sql, said) = program(db.url(), &arguments(&file, &flags));
    assert_eq!(code, 0, "{said}");
    for words in ["conversation_id", "SOLVED", "nothing of it was kept"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(
        sql.contains("INSERT INTO agent_metrics.agent_events")
            && sql.trim_end().ends_with("ROLLBACK;"),
        "{sql}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM pg_extension WHERE extname = 'agent_metrics'")
            .as_deref(),
        Some("0")
    );
}

#[test]
fn json_lines_are_read_by_their_keys_and_tokens_of_the_cache_are_added_where_they_are_apart() {
    let (db, folder) = (db("init_json"), Folder::new("init_json"));
    let line = |n: u32| {
        format!(
            "{{\"timestamp\": {}, \"meta\": {{\"session\": \"c-{n}\", \"bot\": \"{}\"}}, \"outcome\": \"resolved\",
               \"usage\": {{\"input_tokens\": 10, \"cache_read_input_tokens\": 90, \"output_tokens\": 5}},
               \"tools\": [\"look\"], \"seconds\": 1.5}}\n",
            1_793_000_000_000_u64 + u64::from(n),
            if n.is_multiple_of(2) { "bot" } else { "other" }
        )
        .replace('\n', " ")
            + "\n"
    };
    let file = folder.file("log.jsonl", (1..=20).map(line).collect::<String>());
    let flags = [
        "--map",
        "conversation_id=meta.session",
        "--map",
        "agent_id=meta.bot",
        "--map",
        "latency_ms=seconds:s",
        "--map",
        "token_usage_input=usage.input_tokens",
        "--map",
        "token_usage_cache_read=usage.cache_read_input_tokens",
    ];
    let (code, _, said) = program(db.url(), &arguments(&file, &flags));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("rows of others in column \"meta.bot\" are left: other"),
        "{said}"
    );
    assert_eq!(
        db.lines(
            "SELECT count(*), sum(token_usage_input), sum(token_usage_cache_read), sum(token_usage_output),
                    sum(latency_ms), min(tools_called::text), extract(year FROM min(occurred_at))
             FROM agent_metrics.agent_events"
        ),
        ["10|1000|900|50|15000|[\"look\"]|2026"]
    );
    assert_verified(&db);
}

#[test]
fn events_that_say_themselves_what_they_are_are_taken_as_they_are() {
    let (db, folder) = (db("init_otlp"), Folder::new("init_otlp"));
    let spans = include_str!("../../docs/ingest.md")
        .split("ingest_events('{\"resourceSpans\"")
        .nth(1)
        .unwrap();
    let spans =
        format!("{{\"resourceSpans\"{}", spans.split("');").next().unwrap()).replace('\n', " ");
    let spans = spans.replace("support-bot", "bot");
    let file = folder.file("traces.jsonl", format!("{spans}\n"));
    let (code, _, said) = program(db.url(), &arguments(&file, &[]));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("1 turns are stored, 0 were here before, 0 are in quarantine"),
        "{said}"
    );
    assert_eq!(
        db.lines("SELECT agent_id, conversation_id FROM agent_metrics.agent_events"),
        ["bot|c-3"]
    );
    let said = fails_with(
        &db,
        &[
            "init",
            "--no-questions",
            "--agent",
            "nobody",
            "--kind",
            "ops",
            "--owner",
            "x",
            "--from",
            &file,
        ],
    );
    assert!(said.contains("there are turns of: bot"), "{said}");
}

#[test]
fn a_table_of_the_warehouse_is_read_where_it_is_and_an_updated_row_is_the_same_turn() {
    let db = db("init_table");
    db.exec(
        "CREATE SCHEMA app;
         CREATE TABLE app.\"Chat Log\" (id bigint PRIMARY KEY, \"when\" timestamptz, thread_id uuid, \"user\" text,
                                      outcome text,
                                      usd_cents int);
         INSERT INTO app.\"Chat Log\" SELECT n, now() - make_interval(hours => n), gen_random_uuid(), 'u', 'success', 3
         FROM generate_series(1, 40) n",
    );
    let flags = ["--map", "occurred_at=when"];
    let said = works(db.url(), &arguments("app.\"Chat Log\"", &flags));
    assert!(said.contains("FROM app.\"Chat Log\" s"), "{said}");
    db.exec("UPDATE app.\"Chat Log\" SET outcome = 'failure' WHERE id = 1");
    works(db.url(), &arguments("app.\"Chat Log\"", &flags));
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.agent_events"),
        40.0
    );
    assert_verified(&db);
    let own = fails_with(&db, &arguments("agent_metrics.agent_events", &[]));
    assert!(own.contains("its turns are here already"), "{own}");
}
