//! What somebody wrote is shown as text: no label moves the cursor, forges a line of a log or turns a line round.

use crate::support::program::{Running, backdate, program, two_agents, works};

/// Clears the screen, sets the window's title, forges a line, turns the rest round.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\nall is well\u{202e}\u{2028}";

fn assert_plain(text: &str) {
    for c in text.chars() {
        assert!(
            c == '\n'
                || !(c.is_control()
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')),
            "{text:?}"
        );
    }
    for line in text.lines() {
        assert_ne!(line, "all is well", "{text:?}");
    }
}

#[test]
fn nothing_but_text_reaches_a_terminal() {
    let db = two_agents("terminal");
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, model)
         SELECT a, now(), 'c' || a, '{NASTY}', '{NASTY}' FROM unnest(ARRAY['bot', 'stranger{NASTY}']) a;
         SELECT agent_metrics.register_agent('agent{NASTY}', 'support', '{NASTY}', display_name => '{NASTY}');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'agent{NASTY}', now() - interval '1 hour', 'c' || n, 'failure' FROM generate_series(1, 200) n"
    ));
    let seen = |arguments: &[&str]| {
        let (_, stdout, stderr) = program(db.url(), arguments);
        assert_plain(&stdout);
        assert_plain(&stderr);
        format!("{stdout}{stderr}")
    };
    assert!(seen(&["once"]).contains("agent\\u{1b}[2J"));
    assert!(seen(&["status"]).contains("agent\\u{1b}[2J"));
    let doctor = seen(&["doctor"]);
    assert!(
        doctor.contains("stranger\\u{1b}[2J") && doctor.contains("label \"\\u{1b}[2J"),
        "{doctor}"
    );
    assert!(seen(&["refresh", NASTY]).contains("no agent"));
    // a number that is wrong, and words of the server
    db.exec(
        "UPDATE agent_metrics_internal.rollups SET turns = turns + 1;
         ALTER TABLE agent_metrics.conversations
             ADD CONSTRAINT no CHECK (conversation_id <> 'held')",
    );
    assert!(seen(&["verify"]).contains("agent\\u{1b}[2J"));
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('agent{NASTY}', now(), 'held')"
    ));
    backdate(&db);
    assert!(seen(&["once"]).contains("could not refresh agent\\u{1b}[2J"));
    // and the log of a program that runs
    backdate(&db);
    let running = Running::new(db.url(), &["run"]);
    assert_plain(&running.says("could not refresh agent"));
    assert_eq!(running.terminate(), Some(0));
    assert!(works(db.url(), &["status"]).contains("problem: refresh of agent\\u{1b}[2J"));
}
