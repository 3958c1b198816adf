//! Servers and roles that are not as the program would have them: each is named in words, with what makes it so.

use crate::support::cluster::Cluster;
use crate::support::program::{fails, insert, program, two_agents, works};
use crate::support::{Session, login, server, url_of};

fn doctor(url: &str) -> String {
    let (code, stdout, stderr) = program(url, &["doctor"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    stdout
}

/// The URL of a role of a database, which may log in with this password.
fn url_as(database: &str, role: &str) -> String {
    let url = url_of(database);
    let (_, host) = url.split_once('@').unwrap();
    format!("postgresql://{role}:only-for-this-test@{host}")
}

#[test]
fn a_standby_is_named() {
    let primary = Cluster::start("odd_primary");
    let session = primary.session("postgres");
    session.exec(
        "CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup();
         SELECT agent_metrics.register_agent('bot', 'support', 'Head')",
    );
    let standby = primary.standby("odd_standby");
    let url = standby.url("postgres");
    for arguments in [
        &["once"][..],
        &["run"],
        &["refresh"],
        &["rebuild"],
        &["setup"],
        &["archive", "--folder", "/tmp/agent_metrics_nowhere"],
    ] {
        let line = fails(&url, arguments);
        assert!(
            line.contains("is a standby") && line.contains("target_session_attrs"),
            "{line}"
        );
    }
    assert!(doctor(&url).contains("is a standby"));
    assert!(works(&url, &["status"]).contains("bot"));
}

#[test]
fn a_setting_that_keeps_from_writing_is_named() {
    let db = two_agents("odd_settings");
    let (role, session) = login(&db, "program");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin');
         ALTER ROLE {role} SET default_transaction_read_only = on"
    ));
    drop(session);
    let url = url_as(db.name(), &role);
    for command in ["once", "run", "refresh"] {
        let line = fails(&url, &[command]);
        assert!(
            line.contains("default_transaction_read_only")
                && line.contains("by ALTER ROLE")
                && line.contains(&format!(
                    "ALTER ROLE \"{role}\" SET default_transaction_read_only = off"
                )),
            "{line}"
        );
    }
    assert!(doctor(&url).contains("default_transaction_read_only is on"));
    // too short for what is to be done
    db.exec(&format!(
        "ALTER ROLE {role} RESET default_transaction_read_only;
         ALTER ROLE {role} IN DATABASE \"{}\" SET statement_timeout = '300ms';
         CREATE FUNCTION public.slow() RETURNS trigger
         LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
         CREATE TRIGGER slow AFTER INSERT ON agent_metrics.conversations
             FOR EACH STATEMENT EXECUTE FUNCTION public.slow()",
        db.name()
    ));
    let (code, _, stderr) = program(&url, &["once"]);
    assert!(
        code == 1 && stderr.contains("statement timeout (setting statement_timeout"),
        "{stderr}"
    );
    let found = doctor(&url);
    assert!(
        found.contains("statement_timeout is 300 ms")
            && found.contains(&format!(
                "ALTER ROLE \"{role}\" IN DATABASE \"{}\" SET statement_timeout = 0",
                db.name()
            )),
        "{found}"
    );
    db.exec(&format!(
        "SELECT agent_metrics.revoke_access('{role}'); DROP ROLE {role}"
    ));
}

#[test]
fn an_agent_whose_name_is_no_utf8_stops_itself_alone() {
    let name = format!("odd_ascii_{}", std::process::id());
    let server = Session::open(server());
    server.exec(&format!(
        "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'SQL_ASCII'
             LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    let url = url_of(&name);
    let session = Session::open(&url);
    session.exec("CREATE EXTENSION agent_metrics");
    session.exec("SELECT agent_metrics.setup()");
    session.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         SELECT agent_metrics.register_agent('seller', 'sales', 'Head of Sales');
         DO $$ BEGIN PERFORM agent_metrics.register_agent(E'caf\\xe9', 'support', 'Head'); END $$",
    );
    insert(&session, "first", 3);
    session.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         VALUES (E'caf\\xe9', now(), 'c', E'\\xe9')",
    );
    let (code, stdout, stderr) = program(&url, &["once"]);
    assert!(
        code == 1 && stdout.contains("refreshed bot: 3") && stdout.contains("refreshed seller: 3"),
        "{stdout}{stderr}"
    );
    assert!(
        stderr.contains("caf\\xe9") && stderr.contains("no UTF-8"),
        "{stderr}"
    );
    let status = works(&url, &["status"]);
    assert!(status.contains("caf\\xe9"), "{status}");
    let found = doctor(&url);
    assert!(
        found.contains("agent caf\\xe9 cannot be refreshed"),
        "{found}"
    );
    session.exec("DO $$ BEGIN PERFORM agent_metrics.refresh(); END $$");
    let found = doctor(&url);
    assert!(
        found.contains("label \"\\xe9\" of agent caf\\xe9"),
        "{found}"
    );
    drop(session);
    server.exec(&format!("DROP DATABASE \"{name}\" WITH (FORCE)"));
}

#[test]
fn headers_alone_do_not_bring_a_server() {
    // a machine with a server and no headers: its server must not be named, or apt-get may upgrade and restart it
    let folder = std::env::temp_dir().join(format!("agent_metrics_tools_{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("bin").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let place = folder.display();
    write(
        "pg_config",
        &format!(
            "#!/bin/sh\ncase $1 in --bindir) echo {place}/bin;; \
             --includedir-server) echo {place}/none;; --version) echo PostgreSQL 15.9;; esac\n"
        ),
    );
    write("initdb", "#!/bin/sh\n");
    write("apt-get", "#!/bin/sh\nexit 1\n");
    write("apt-cache", "#!/bin/sh\necho '  Depends: postgresql-15'\n");
    write("sudo", "#!/bin/sh\n\"$@\"\n");
    let said = std::process::Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scripts/install-tools"
    ))
    .env_remove("PG_CONFIG")
    .env(
        "PATH",
        format!("{place}/bin:{}", std::env::var("PATH").unwrap()),
    )
    .output()
    .unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("postgresql-server-dev-15"), "{said}");
    assert!(!said.contains("missing postgresql-15:"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}
