//! `agent-metrics init` at a terminal, which util-linux's `script` gives: it asks what nobody said.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::program::PATIENCE;
use crate::support::{Db, empty_db};

/// Somebody at a terminal.
struct Terminal {
    child: std::process::Child,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// None where there is no script(1).
    fn open(db: &Db, line: &str) -> Option<Self> {
        let line = format!(
            "stty cols 200; exec {} {line}",
            env!("CARGO_BIN_EXE_agent-metrics")
        );
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("DATABASE_URL", db.url())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .ok()?;
        let (sender, screen) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                drop(sender.send(bytes[..length].to_vec()));
            }
        });
        Some(Self {
            child,
            screen,
            seen: String::new(),
        })
    }

    /// Waits for a question.
    fn sees(&mut self, words: &str) {
        while !self.seen.contains(words) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("it never showed \"{words}\", only: {:?}", self.seen),
            }
        }
        self.seen.clear();
    }

    /// Types something.
    fn types(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DOWN: &str = "\u{1b}[B";

#[test]
fn what_nobody_said_is_asked_and_every_answer_counts() {
    let db = empty_db("init_asked");
    let file = std::env::temp_dir().join(format!("am_init_asked_{}.csv", std::process::id()));
    let rows: Vec<String> = (1..=9)
        .map(|n| {
            format!(
                "{}T10:00:0{n},c-{n},GOOD",
                db.value("SELECT current_date - 2").unwrap()
            )
        })
        .collect();
    std::fs::write(&file, format!("time,chat,result\n{}\n", rows.join("\n"))).unwrap();
    let Some(mut person) = Terminal::open(&db, "init") else {
        println!("skipped: there is no script(1)");
        return;
    };
    person.sees("the agent's id");
    person.types("bot\r");
    person.sees("its kind");
    // ops, sales, support
    person.types(&format!("{DOWN}{DOWN}\r"));
    person.sees("who answers for its thresholds");
    person.types("Head of Support\r");
    person.sees("where the turns are");
    person.types(&format!("{}\r", file.display()));
    person.sees("the zone of times that name none");
    person.types("Europe/Berlin\r");
    person.sees("label \"GOOD\" (9 rows) means");
    // the first of the outcomes is abandoned, the last success
    person.types(&format!("{}\r", "\u{1b}[A"));
    person.sees("store these turns?");
    person.types("y");
    person.sees("a table of the business");
    person.types("\r");
    person.sees("where alerts go");
    person.types("\r");
    person.sees("deflection_rate");
    assert!(person.child.wait().unwrap().success());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        db.lines(
            "SELECT a.agent_id, a.kind, a.owner, a.time_zone, t.value_30d,
                    (SELECT min(e.occurred_at AT TIME ZONE 'Europe/Berlin')::time FROM agent_metrics.agent_events e)
             FROM agent_metrics.agents a JOIN agent_kpi.cfo_tiles t ON t.agent_id = a.agent_id
             WHERE t.metric = 'task_success_rate'"
        ),
        ["bot|support|Head of Support|Europe/Berlin|1|10:00:01"]
    );
}

#[test]
fn who_says_no_has_done_nothing() {
    let db = empty_db("init_no");
    let file = std::env::temp_dir().join(format!("am_init_no_{}.csv", std::process::id()));
    std::fs::write(&file, "ts,session\n1793000000,c\n").unwrap();
    let line = format!(
        "init --agent bot --kind ops --owner Somebody --from {}",
        file.display()
    );
    let Some(mut person) = Terminal::open(&db, &line) else {
        println!("skipped: there is no script(1)");
        return;
    };
    person.sees("store these turns?");
    person.types("n");
    person.sees("nothing was done");
    assert!(!person.child.wait().unwrap().success());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        db.value("SELECT count(*) FROM pg_extension WHERE extname = 'agent_metrics'")
            .as_deref(),
        Some("0")
    );
}
