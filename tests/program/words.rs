//! What the program says: in which words, how much of it, and to whom.

use std::process::{Command, Stdio};

use crate::support::db;
use crate::support::program::{Running, backdate, command, fails, insert, program, two_agents};

/// The long help of every command.
fn helps() -> Vec<String> {
    let commands = [
        "", "init", "setup", "run", "once", "status", "refresh", "verify", "rebuild", "archive",
        "restore", "demo", "serve", "doctor",
    ];
    let help = |name: &&str| {
        let arguments: Vec<&str> = [*name, "--help"]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let (code, help, _) = program("", &arguments);
        assert_eq!(code, 0, "{name}");
        help
    };
    commands.iter().map(help).collect()
}

#[test]
fn examples_of_the_help_can_be_pasted() {
    for help in helps() {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        // a command that is told is a command that is there, with flags that it has
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
        let examples = examples.replace("\\\n", " ");
        for line in examples
            .lines()
            .filter_map(|line| line.trim().strip_prefix("agent-metrics "))
        {
            let (of, line) = (
                line.split_whitespace().next().unwrap(),
                line.split('>').next().unwrap(),
            );
            let (_, of, _) = program("", &[of, "--help"]);
            for flag in line
                .split_whitespace()
                .filter(|word| word.starts_with("--"))
            {
                assert!(of.contains(flag), "{flag} in: {line}");
            }
        }
    }
    // the examples of psql are whole: a shell reads them
    let all = helps().remove(0);
    let (_, examples) = all.split_once("Examples:\n").unwrap();
    let (examples, _) = examples.split_once("\nExit status").unwrap();
    let lines: Vec<&str> = examples
        .lines()
        .filter(|line| line.starts_with("    "))
        .collect();
    let read = Command::new("bash")
        .args(["-n", "-c", &lines.join("\n")])
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
}

#[test]
fn the_page_has_one_flag_wherever_it_is_shown() {
    for name in ["run", "serve", "demo"] {
        let (_, help, _) = program("", &[name, "--help"]);
        assert!(
            help.contains("--listen <ADDRESS>") && !help.contains("--serve"),
            "{help}"
        );
    }
}

#[test]
fn nothing_but_text_is_written_where_nobody_sees_colours() {
    let db = two_agents("words_plain");
    for terminal in ["dumb", "xterm-256color", ""] {
        for arguments in [
            &["--help"][..],
            &["nonsense"],
            &["status"],
            &["doctor"],
            &["refresh"],
            &["rebuild"],
            &["once"],
        ] {
            let mut command = command(db.url(), arguments);
            command
                .env_remove("NO_COLOR")
                .env("TERM", terminal)
                .env("CLICOLOR_FORCE", "1");
            let output = command.output().unwrap();
            for bytes in [output.stdout, output.stderr] {
                assert!(
                    !bytes.contains(&0x1b),
                    "{arguments:?}: {}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}

/// At a terminal, by util-linux's `script`: a dumb one gets no bar that is written over.
#[test]
fn a_dumb_terminal_is_not_written_over() {
    let db = two_agents("words_dumb");
    let seen = |terminal: &str| {
        let line = format!(
            "{} rebuild --agent bot",
            env!("CARGO_BIN_EXE_agent-metrics")
        );
        let output = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("DATABASE_URL", db.url())
            .env("TERM", terminal)
            .stdin(Stdio::null())
            .output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Ok(dumb) = seen("dumb") else {
        println!("skipped: there is no script(1)");
        return;
    };
    assert!(
        dumb.contains("rebuilt") && !dumb.contains('\u{1b}'),
        "{dumb:?}"
    );
    let screen = seen("xterm").unwrap();
    assert!(
        screen.contains("rebuilt") && screen.contains('\u{1b}'),
        "{screen:?}"
    );
}

#[test]
fn an_error_is_a_line_and_its_context_comes_when_asked_for() {
    let db = db("words_verbose");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         ALTER TABLE agent_metrics_internal.rollups RENAME TO elsewhere",
    );
    let arguments = ["verify"];
    let line = fails(db.url(), &arguments);
    assert!(
        !line.contains("CONTEXT") && !line.contains("PL/pgSQL"),
        "{line}"
    );
    let (code, _, said) = program(db.url(), &["verify", "--verbose"]);
    assert_eq!(code, 1);
    assert!(said.starts_with(&line), "{said}");
    for words in ["SQLSTATE: 42P01", "CONTEXT: "] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn levels_are_as_expected_and_an_idle_refresh_is_no_line() {
    let db = two_agents("words_levels");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', now() - interval '1 day', 'failed-' || n, 'failure' FROM generate_series(1, 500) n",
    );
    let running = Running::new(db.url(), &["run"]);
    let opened = running.says("breach opened task_success_rate");
    assert!(opened.contains("WARN"), "{opened}");
    // refreshed again with nothing new, and then with something
    backdate(&db);
    db.until(
        "SELECT bool_and(w.refreshed_at > now() - interval '1 day') FROM agent_metrics_internal.agent_watermarks w",
    );
    insert(&db, "more", 3);
    backdate(&db);
    let heard = running.hears("refreshed seller: 3 events");
    assert!(
        !heard.iter().any(|line| line.contains(" 0 events")),
        "{heard:#?}"
    );
    assert_eq!(running.terminate(), Some(0));
}
