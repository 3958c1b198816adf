//! Program, library, extension and tables of different versions: each command, and each function that counts, says in
//! one line what is to be updated, and nothing is touched.

use super::*;
use crate::support::asserts::{assert_ours, assert_verified};
use crate::support::program::{Running, fails, program, works};

/// Every command that asks the database for something, besides setup and doctor.
const COMMANDS: [&[&str]; 10] = [
    &["run"],
    &["once"],
    &["status"],
    &["refresh"],
    &["verify"],
    &["rebuild"],
    &["archive", "--folder", "/no/such/folder"],
    &["restore", "/no/such/file"],
    &["demo", "--listen", "127.0.0.1:0"],
    &["serve", "--listen", "127.0.0.1:0"],
];

/// Each command but setup fails with one line that has these words, and doctor says the same.
fn all_say(url: &str, words: &[&str]) {
    for command in COMMANDS {
        let line = fails(url, command);
        assert!(
            words.iter().all(|words| line.contains(words)),
            "{command:?}: {line}"
        );
    }
    let (code, said, _) = program(url, &["doctor"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("- ") && words.iter().all(|words| said.contains(words)),
        "{said}"
    );
}

fn counting_is_refused(session: &Session, words: &str, hint: &str) {
    for count in ["refresh()", "refresh('sup')", "rebuild()", "verify()"] {
        let error = session.error(&format!("SELECT * FROM agent_metrics.{count}"));
        assert_ours(&error, "55000", words);
        assert!(error.hint.contains(hint), "{error}");
    }
}

#[test]
fn whatever_versions_meet_each_says_what_to_update() {
    let server = Server::copy("versions");
    let current = Sources::current();
    let members: String = current
        .of(&["member"])
        .map(|script| script.text.clone())
        .collect();
    for version in [EARLIER, "99.0.0"] {
        server.add(&format!("agent_metrics--{version}.sql"), &members);
    }
    let guard = &current.0[0].text;
    server.add(&format!("agent_metrics--{EARLIER}--{VERSION}.sql"), guard);
    server.add(&format!("agent_metrics--{VERSION}--99.0.0.sql"), guard);
    let server = server.start();
    let control = include_str!("../../agent_metrics.control");
    let offer = |version: &str| {
        let text = control.replace(&format!("'{VERSION}'"), &format!("'{version}'"));
        server.add("agent_metrics.control", &text);
    };
    let stand_in = |session: &Session, version: &str| {
        let mut sources = Sources::current();
        sources.0.retain(|script| script.kind != "member");
        super::stand_in(session, version, &sources);
    };
    let updated = filled(&server, "updated", &{
        let mut sources = Sources::current();
        sources.0.retain(|script| script.kind != "member");
        sources
    });
    library(&updated);
    let url = server.url("updated");
    let before = Kept::of(&updated);

    // the program is newer, and the server has only the older files
    offer(EARLIER);
    let older = format!("is agent_metrics {EARLIER} and this program is {VERSION}");
    all_say(
        &url,
        &[
            &older,
            &format!("install {VERSION} on the server"),
            "agent-metrics setup",
        ],
    );
    let line = fails(&url, &["setup"]);
    assert!(
        line.contains(&older) && line.contains(&format!("install {VERSION} on the server")),
        "{line}"
    );
    // the library is newer than the extension, as after an upgrade of the package alone
    counting_is_refused(
        &updated,
        &format!("library {VERSION} and extension {EARLIER} of agent_metrics differ"),
        "ALTER EXTENSION agent_metrics UPDATE",
    );

    // the files are there: it takes ALTER EXTENSION and setup()
    offer(VERSION);
    all_say(
        &url,
        &[&older, "bring it up to date with: agent-metrics setup"],
    );
    // the first of them was done by hand
    updated.exec("ALTER EXTENSION agent_metrics UPDATE");
    all_say(
        &url,
        &[
            &format!("are as agent_metrics {EARLIER} made them and the extension is {VERSION}"),
            "bring them up to date with: agent-metrics setup",
        ],
    );
    counting_is_refused(
        &updated,
        &format!("as version {EARLIER} made them, and the extension is {VERSION}"),
        "SELECT agent_metrics.setup()",
    );
    assert!(works(&url, &["setup"]).contains("is set up"));
    works(&url, &["refresh"]);
    assert_verified(&updated);
    works(&url, &["status"]);

    // a library that is older than the extension, as after a package was put back
    let newer = format!("and this program is older, {VERSION}: install agent-metrics 99.0.0");
    updated.exec(&format!(
        "CREATE OR REPLACE FUNCTION agent_metrics.version() RETURNS text
             LANGUAGE sql STABLE AS $$SELECT '{EARLIER}'$$"
    ));
    all_say(
        &url,
        &[
            "the library on the server",
            &older,
            &format!("install {VERSION} on the server"),
        ],
    );
    let line = fails(&url, &["setup"]);
    assert!(
        line.contains(&format!(
            "library {EARLIER} and extension {VERSION} of agent_metrics differ"
        )),
        "{line}"
    );
    counting_is_refused(
        &updated,
        &format!("library {EARLIER} and extension {VERSION} of agent_metrics differ"),
        &format!("install the files of version {VERSION} again"),
    );
    library(&updated);
    works(&url, &["verify"]);
    // tables of a newer version, as after a restore on an older server
    let remark = "SELECT obj_description('agent_metrics_internal.migrations'::regclass)";
    let said = updated.value(remark).unwrap();
    let comment = |text: &str| {
        updated.exec(&format!(
            "COMMENT ON TABLE agent_metrics_internal.migrations IS '{text}'"
        ));
    };
    comment(&said.replace(VERSION, "99.0.0"));
    all_say(
        &url,
        &[
            "what made the tables in database \"updated\"",
            "99.0.0",
            &newer,
        ],
    );
    counting_is_refused(
        &updated,
        "as version 99.0.0 made them",
        "If 99.0.0 is the newer one, install its files first",
    );
    // a dump without comments: nobody knows, and nobody is kept from anything
    updated.exec("COMMENT ON TABLE agent_metrics_internal.migrations IS NULL");
    works(&url, &["verify"]);
    comment(&said);

    // the program is older than the extension; no version goes back
    let ahead = server.database("ahead");
    ahead.exec("CREATE EXTENSION agent_metrics VERSION '99.0.0'");
    stand_in(&ahead, "99.0.0");
    setup(&ahead);
    let catalogue = catalogue::of(&ahead);
    all_say(
        &server.url("ahead"),
        &[
            "the extension in database \"ahead\" is agent_metrics 99.0.0",
            &newer,
        ],
    );
    let line = fails(&server.url("ahead"), &["setup"]);
    assert!(line.contains(&newer), "{line}");
    offer("99.0.0");
    let line = fails(&server.url("ahead"), &["setup"]);
    assert!(
        line.contains("the extension on the server") && line.contains(&newer),
        "{line}"
    );
    let error = ahead.error(&format!(
        "ALTER EXTENSION agent_metrics UPDATE TO '{VERSION}'"
    ));
    assert_eq!(error.sqlstate, "22023", "{error}");
    assert_same(&catalogue::of(&ahead), &catalogue);

    // a scheduler that is running when the extension is updated makes room for a newer one
    let mut running = Running::new(&url, &["run"]);
    running.says("leading");
    updated.exec("ALTER EXTENSION agent_metrics UPDATE TO '99.0.0'");
    let line = running
        .says("agent-metrics: the extension in database \"updated\" is agent_metrics 99.0.0");
    assert!(line.contains(&newer), "{line}");
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
    let lease = "SELECT count(*) FROM agent_kpi.scheduler WHERE is_alive";
    assert_eq!(updated.number(lease), 0.0);

    // whatever was tried, no row of the user's is lost or changed
    let lost = before.lost(&updated);
    assert!(
        !lost.iter().any(|row| row.starts_with("agent_metrics.")),
        "{lost:?}"
    );
}
