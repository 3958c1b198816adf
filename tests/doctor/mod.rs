//! `doctor` against planted faults: it names each, what it prints as the cure is run literally, its gaps filled in, and
//! afterwards it is content. What has gaps is no SQL as it stands, so nobody stores a guess of ours.

mod facts;
mod install;
mod money;
mod people;

use std::process::Command;

use crate::support::program::{command, program};
use crate::support::{Db, db};

/// A fault: how it comes about, what `doctor` says of it, and what a person puts into the gaps of its cure.
pub struct Fault {
    name: &'static str,
    plant: &'static [&'static str],
    says: &'static str,
    gaps: &'static [(&'static str, &'static str)],
}

/// A fault, in one line of a table.
pub const fn fault(
    name: &'static str,
    plant: &'static [&'static str],
    says: &'static str,
    gaps: &'static [(&'static str, &'static str)],
) -> Fault {
    Fault {
        name,
        plant,
        says,
        gaps,
    }
}

const TURN: &str = "INSERT INTO agent_metrics.agent_events
    (agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output, latency_ms, cost_usd,
     outcome_label)";

/// A database in which all is well: an agent whose turns have a cost and a label, refreshed; a scheduler that leads.
pub fn well(name: &str) -> Db {
    let db = db(&format!("doctor_{name}"));
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support')");
    db.exec(&format!(
        "{TURN} SELECT 'bot', now() - n * interval '10 minutes', 'c' || n, 'm0', 10, 10, 500, 0.01, 'resolved'
         FROM generate_series(1, 20) n"
    ));
    db.exec("SELECT agent_metrics.refresh()");
    db.exec("SELECT agent_metrics_internal.take_lead(gen_random_uuid(), 'a test', 3000)");
    content(&db, "before anything is planted");
    db
}

/// `doctor` has nothing to complain of.
pub fn content(db: &Db, when: &str) {
    let (code, stdout, stderr) = program(db.url(), &["doctor"]);
    assert_eq!(code, 0, "{}, {when}: {stdout}{stderr}", db.name());
}

/// The cure of the finding that says these words.
pub fn cure_of(url: &str, says: &str) -> String {
    let (code, stdout, stderr) = program(url, &["doctor"]);
    assert_eq!(
        code, 1,
        "doctor is content without \"{says}\": {stdout}{stderr}"
    );
    let mut lines = stdout.lines();
    let found = lines
        .by_ref()
        .find(|line| line.starts_with("- ") && line.contains(says))
        .unwrap_or_else(|| panic!("\"{says}\" is missing in: {stdout}"));
    // what every command says of a database that is not set up has its cure in the same line
    lines
        .next()
        .and_then(|line| line.strip_prefix("  cure: "))
        .unwrap_or(found)
        .to_owned()
}

/// The statements and commands of a cure, up to an alternative: they begin the cure, or follow a colon.
fn steps(cure: &str) -> Vec<String> {
    const VERBS: &[&str] = &[
        "agent-metrics ",
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "ALTER ",
        "GRANT ",
        "DROP ",
    ];
    let begins = |at: usize| VERBS.iter().any(|verb| cure[at..].starts_with(verb));
    let start = (0..cure.len())
        .filter(|&at| cure.is_char_boundary(at))
        .find(|&at| {
            begins(at) && (at == 0 || cure[..at].ends_with(": ") || cure[..at].ends_with(", or "))
        })
        .unwrap_or_else(|| panic!("nothing to run in: {cure}"));
    let (mut steps, mut quoted) = (vec![String::new()], false);
    for letter in cure[start..].chars() {
        match letter {
            ';' if !quoted => steps.push(String::new()),
            _ => {
                quoted ^= letter == '\'';
                steps.last_mut().unwrap().push(letter);
            }
        }
    }
    steps
        .into_iter()
        .map(|step| step.trim().to_owned())
        .take_while(|step| !step.is_empty() && !step.starts_with("or"))
        .collect()
}

/// Runs a cure as it is printed, with its gaps filled in.
pub fn apply(db: &Db, cure: &str, gaps: &[(&str, &str)]) {
    for step in steps(cure) {
        let filled = gaps
            .iter()
            .fold(step.clone(), |step, (gap, value)| step.replace(gap, value));
        if step.starts_with("agent-metrics ") {
            shell(db.url(), &filled, &[]);
            continue;
        }
        if filled != step {
            assert_eq!(
                db.error(&step).sqlstate,
                "42601",
                "a guess could be stored: {step}"
            );
        }
        db.exec(&filled);
    }
}

/// Runs a command line as a shell does, with the program on its path.
pub fn shell(url: &str, line: &str, variables: &[(&str, &str)]) {
    let program = command(url, &[]).get_program().to_owned();
    let folder = std::path::Path::new(&program).parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", path)
        .env("DATABASE_URL", url)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// Plants each fault in a database of its own, and cures it by what `doctor` prints.
pub fn plant_and_cure(faults: &[Fault]) {
    for fault in faults {
        let db = well(fault.name);
        for statement in fault.plant {
            db.exec(statement);
        }
        apply(&db, &cure_of(db.url(), fault.says), fault.gaps);
        content(&db, "after its own cure");
    }
}
