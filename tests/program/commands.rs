//! The `agent-metrics` command as a person or a service manager uses it. Nothing here sleeps: where something has to
//! happen first, its log line or a query of the server is waited for. `run` is in scheduler.rs, `demo` in demo.rs.

use agent_metrics::program::scheduler::jobs;

use crate::support::asserts::assert_sqlstate;
use crate::support::program::{
    Running, backdate, command, fails, insert, program, two_agents, works,
};
use crate::support::{Db, db, empty_db, login, server, url_of};

#[test]
fn no_server_is_said_in_one_line() {
    for arguments in [
        &["status"][..],
        &["run"],
        &["once"],
        &["serve"],
        &["setup"],
        &["demo"],
        &["doctor"],
        &["verify"],
    ] {
        let line = fails(
            "postgresql://somebody:pa55word@127.0.0.1:1/nothing",
            arguments,
        );
        assert!(
            line.contains("127.0.0.1:1") && line.contains("start PostgreSQL there"),
            "{line}"
        );
        assert!(!line.contains("pa55word"), "{line}");
    }
}

#[test]
fn a_wrong_or_missing_password_is_said_in_one_line() {
    let (_, rest) = server().split_once("://postgres:").unwrap();
    let (password, place) = rest.split_once('@').unwrap();
    for arguments in [&["status"][..], &["run"], &["serve"]] {
        let line = fails(
            &format!("postgresql://postgres:wr0ng{password}@{place}"),
            arguments,
        );
        assert!(
            line.contains("wrong password for user \"postgres\"") && line.contains("PGPASSWORD"),
            "{line}"
        );
        assert!(
            !line.contains("wr0ng") && !line.contains(password),
            "{line}"
        );
    }
    let line = fails(&format!("postgresql://postgres@{place}"), &["status"]);
    assert!(
        line.contains("asks for the password of user \"postgres\"") && line.contains("PGPASSWORD"),
        "{line}"
    );
}

#[test]
fn a_password_may_come_from_the_environment() {
    let db = two_agents("program_password");
    let (_, rest) = db.url().split_once("://postgres:").unwrap();
    let (password, place) = rest.split_once('@').unwrap();
    let (host_port, database) = place.split_once('/').unwrap();
    let (host, port) = host_port.split_once(':').unwrap();
    let output = command("", &["status"])
        .envs([
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", "postgres"),
            ("PGPASSWORD", password),
            ("PGDATABASE", database),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("seller"));
}

#[test]
fn a_broken_url_is_said_without_its_password() {
    for url in [
        "postgresql://u:pa55word@h:notaport/d",
        "postgresql://u:pa55word@h/d?sslmode=perhaps",
        "pa55word",
    ] {
        let line = fails(url, &["status"]);
        assert!(!line.contains("pa55word"), "{line}");
    }
}

#[test]
fn no_database_is_said_in_one_line() {
    let line = fails(&url_of("no_such_database"), &["status"]);
    assert!(
        line.contains("no database \"no_such_database\"") && line.contains("createdb"),
        "{line}"
    );
}

#[test]
fn a_server_without_tls_is_said_in_one_line() {
    let line = fails(&format!("{}?sslmode=require", server()), &["status"]);
    assert!(line.contains("TLS") && line.contains("sslmode"), "{line}");
    let line = fails(
        &format!("{}?sslmode=verify-full&sslrootcert=/no/such/file", server()),
        &["status"],
    );
    assert!(line.contains("/no/such/file"), "{line}");
}

#[test]
fn a_database_without_the_extension_is_said_in_one_line() {
    let db = empty_db("program_no_extension");
    for arguments in [
        &["status"][..],
        &["run"],
        &["once"],
        &["serve"],
        &["demo"],
        &["refresh"],
        &["verify"],
    ] {
        let line = fails(db.url(), arguments);
        assert!(
            line.contains(db.name()) && line.contains("agent-metrics setup"),
            "{line}"
        );
    }
    db.exec("CREATE EXTENSION agent_metrics");
    let line = fails(db.url(), &["status"]);
    assert!(
        line.contains("no tables yet") && line.contains("agent-metrics setup"),
        "{line}"
    );
}

#[test]
fn another_version_is_said_in_one_line() {
    let db = db("program_version");
    db.exec(
        "CREATE OR REPLACE FUNCTION agent_metrics.version() RETURNS text
         LANGUAGE sql IMMUTABLE AS $$SELECT '99.0.0'$$",
    );
    let line = fails(db.url(), &["run"]);
    assert!(
        line.contains("99.0.0") && line.contains("this program is older"),
        "{line}"
    );
    db.exec("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'agent_metrics'");
    let line = fails(db.url(), &["run"]);
    assert!(
        line.contains("0.0.1") && line.contains("bring it up to date with: agent-metrics setup"),
        "{line}"
    );
}

#[test]
fn an_unknown_agent_is_said_in_one_line() {
    let db = two_agents("program_unknown_agent");
    for verb in ["refresh", "verify"] {
        let line = fails(db.url(), &[verb, "nobody"]);
        assert!(
            line.contains("\"nobody\"") && line.contains("bot, seller"),
            "{line}"
        );
    }
}

#[test]
fn a_user_without_rights_is_told_whom_to_ask() {
    let db = two_agents("program_rights");
    let role = format!("program_rights_{}", std::process::id());
    db.exec(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'"));
    let (_, place) = db.url().split_once('@').unwrap();
    let line = fails(&format!("postgresql://{role}:x@{place}"), &["once"]);
    assert!(
        line.contains("grant_access") && line.contains(&role),
        "{line}"
    );
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin')"
    ));
    let once = works(&format!("postgresql://{role}:x@{place}"), &["once"]);
    assert!(
        once.contains("refreshed bot") && once.contains("refreshed seller"),
        "{once}"
    );
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn setup_makes_all_and_twice_keeps_edits() {
    let db = empty_db("program_setup");
    assert!(works(db.url(), &["setup"]).contains("is set up"));
    db.exec("UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'info_only'");
    works(db.url(), &["setup"]);
    assert_eq!(
        db.value("SELECT is_success FROM agent_metrics.outcomes WHERE label = 'info_only'")
            .as_deref(),
        Some("t")
    );
    works(db.url(), &["status"]);
}

#[test]
fn once_catches_up_once_and_then_nothing_is_due() {
    let db = two_agents("program_once");
    let once = works(db.url(), &["once"]);
    assert!(
        once.contains("refreshed bot: 20 events") && once.contains("refreshed seller: 20 events"),
        "{once}"
    );
    assert!(works(db.url(), &["once"]).starts_with("nothing is due; next: "));
    insert(&db, "second", 7);
    assert!(
        works(db.url(), &["once"]).starts_with("nothing is due; next: "),
        "new events alone make nobody due"
    );
    backdate(&db);
    let once = works(db.url(), &["once"]);
    assert_eq!(
        once.lines().count(),
        2,
        "hundreds of missed runs are one: {once}"
    );
    assert!(
        once.contains("refreshed bot: 7 events") && once.contains("refreshed seller: 7 events"),
        "{once}"
    );
    assert!(works(db.url(), &["once"]).starts_with("nothing is due; next: "));
    assert_eq!(works(db.url(), &["verify"]), "");
}

#[test]
fn a_failing_agent_blocks_nobody() {
    let db = two_agents("program_failing");
    db.exec(
        "CREATE FUNCTION public.refuse() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no luck today'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON agent_metrics.conversations FOR EACH ROW WHEN (NEW.agent_id = 'bot')
             EXECUTE FUNCTION public.refuse()",
    );
    let (code, stdout, stderr) = program(db.url(), &["once"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("refreshed seller: 20 events"), "{stdout}");
    assert!(
        stderr.contains("could not refresh bot: no luck today"),
        "{stderr}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.conversations")
            .as_deref(),
        Some("20")
    );

    let running = Running::new(db.url(), &["run"]);
    running.says("could not refresh bot");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn refresh_and_verify_speak_of_one_agent_or_all() {
    let db = two_agents("program_refresh");
    let one = works(db.url(), &["refresh", "bot"]);
    assert!(
        one.contains("refreshed bot") && !one.contains("seller"),
        "{one}"
    );
    assert!(works(db.url(), &["refresh"]).contains("refreshed seller"));
    assert_eq!(works(db.url(), &["verify"]), "");
    db.exec("UPDATE agent_metrics_internal.rollups SET turns = turns + 1 WHERE agent_id = 'bot' AND level = 'day'");
    let (code, stdout, _) = program(db.url(), &["verify"]);
    assert_eq!(code, 1);
    assert!(
        stdout
            .lines()
            .all(|line| line.starts_with("bot day ") && line.contains("stored"))
            && !stdout.is_empty(),
        "{stdout}"
    );
    assert_eq!(program(db.url(), &["verify", "seller"]).0, 0);
}

#[test]
fn status_shows_every_agent_and_the_scheduler() {
    let db = two_agents("program_status");
    let status = works(db.url(), &["status"]);
    assert!(
        status.contains("bot ") && status.contains("*/5 * * * * UTC") && status.contains("never"),
        "{status}"
    );
    assert!(status.contains("scheduler: none runs"), "{status}");
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed seller");
    let status = works(db.url(), &["status"]);
    assert!(
        !status.contains("never") && status.contains("scheduler: process "),
        "{status}"
    );
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn doctor_names_each_ill_and_its_cure() {
    let db = two_agents("program_doctor");
    works(db.url(), &["once"]);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label) VALUES
             ('stranger', now(), 'c1', 'success'), ('bot', now(), 'c2', 'sucess')",
    );
    works(db.url(), &["refresh"]);
    backdate(&db);
    let (code, stdout, _) = program(db.url(), &["doctor"]);
    assert_eq!(code, 1);
    for words in [
        "agent bot is stale",
        "agent-metrics refresh bot",
        "agent stranger is not registered",
        "label \"sucess\"",
        "no scheduler runs",
    ] {
        assert!(stdout.contains(words), "{words} is missing in: {stdout}");
    }
    // what a label counts as is not guessed: the statement has gaps, and as it stands it stores nothing
    let (_, cure) = stdout
        .split_once("INSERT INTO agent_metrics.outcomes")
        .unwrap();
    let cure = format!(
        "INSERT INTO agent_metrics.outcomes{}",
        cure.lines().next().unwrap()
    );
    assert!(
        cure.contains("is_escalation) VALUES ('sucess', <the task was done>"),
        "{cure}"
    );
    assert_sqlstate(&db, &cure, "42601");
    let (code, stdout, _) = program(empty_db("program_doctor_empty").url(), &["doctor"]);
    assert!(
        code == 1 && stdout.contains("agent-metrics setup"),
        "{stdout}"
    );
}

#[test]
fn help_teaches() {
    let (code, stdout, _) = program("postgresql://u:pa55word@h/d", &["--help"]);
    assert_eq!(code, 0);
    for words in [
        "Examples:",
        "sslmode",
        "agent-metrics setup",
        "PGPASSWORD",
        "agent-metrics once",
    ] {
        assert!(stdout.contains(words), "{words} is missing in: {stdout}");
    }
    assert!(!stdout.contains("pa55word"));
}

#[test]
fn refresh_does_what_once_does_around_it() {
    let db = two_agents("program_around");
    db.exec(
        "CREATE TABLE public.paid (id integer PRIMARY KEY, at timestamptz, chat text);
         INSERT INTO public.paid VALUES (1, now(), 'first-bot-1');
         CREATE VIEW public.payments AS SELECT * FROM public.paid;
         SELECT agent_metrics.attach_business_events('public.payments', 'id', 'at', fixed_kind => 'charge',
                                                     conversation_id => 'chat');
         INSERT INTO public.paid VALUES (2, now(), 'first-bot-2');
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('us', 'm', 'input', 1), ('us', 'm', 'output', 1);
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label, model, token_usage_input, token_usage_output)
         SELECT 'bot', now() - n * interval '1 minute', 'bad' || n, 'failure', 'm', 10, 10
         FROM generate_series(1, 300) AS n",
    );
    let said = works(db.url(), &["refresh", "bot"]);
    // a turn that was priced on its way counts once
    assert!(said.contains("refreshed bot: 320 events"), "{said}");
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.business_events),
                    (SELECT count(*) FROM agent_metrics.agent_events WHERE cost_usd IS NULL),
                    (SELECT count(*) FROM agent_kpi.open_breaches WHERE metric = 'task_success_rate')"
        ),
        ["2|0|1"]
    );
    // and so does rebuild
    db.exec(
        "INSERT INTO public.paid VALUES (3, now(), 'first-bot-3');
         UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'failure'",
    );
    works(db.url(), &["refresh", "seller"]);
    works(db.url(), &["rebuild", "--agent", "bot"]);
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.business_events),
                    (SELECT count(*) FROM agent_kpi.open_breaches WHERE metric = 'task_success_rate')"
        ),
        ["3|0"]
    );
}

#[test]
fn who_is_next_is_said_when_nothing_is_due() {
    let next = |db: &Db| {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(async { jobs::idle(&db.client().await).await.unwrap() })
    };
    let db = db("program_idle");
    assert!(next(&db).starts_with("no agent is registered, so nothing is due"));
    let db = two_agents("program_next");
    works(db.url(), &["once"]);
    let said = next(&db);
    assert!(
        said.starts_with("nothing is due; next: bot at 20") && said.contains(" UTC"),
        "{said}"
    );
}

#[test]
fn setup_by_an_admin_names_the_owner() {
    let db = two_agents("program_admin_setup");
    let (role, session) = login(&db, "program");
    drop(session);
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin')"
    ));
    let (_, place) = db.url().split_once('@').unwrap();
    let line = fails(
        &format!("postgresql://{role}:only-for-this-test@{place}"),
        &["setup"],
    );
    assert!(
        line.contains("belongs to postgres")
            && line.contains("Log in as postgres")
            && !line.contains("grant_access"),
        "{line}"
    );
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
