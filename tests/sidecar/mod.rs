//! A warehouse that takes no extension, and a PostgreSQL of ours beside it: the commands of `docs/managed-services.md`,
//! run on two servers in the order in which a reader comes to them.

mod broken;
mod followed;
mod foreign;

use std::process::Command;

use crate::support::Session;
use crate::support::asserts::assert_no_rows;
use crate::support::cluster::{Cluster, run};
use crate::support::program::{program, works};
use crate::support::rollups::assert_rollups;

const PAGE: &str = include_str!("../../docs/managed-services.md");

/// The page's blocks of commands, each with its section.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let sections = PAGE.split("\n## ").skip(1);
    let of_section = |section: &'static str| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let fences = rest.split("\n```").skip(1).step_by(2);
        let commands =
            fences.filter(|fence| fence.starts_with("sql\n") || fence.starts_with("sh\n"));
        commands.map(move |fence| (heading, fence))
    };
    sections.flat_map(of_section).collect()
}

/// The place of a server in a URL: port and password of its superuser.
fn port(url: &str) -> &str {
    let (_, rest) = url.rsplit_once("127.0.0.1:").unwrap();
    rest.split_once('/').unwrap().0
}

/// Each block is run by a test of this room: a new one has to be put into one of them.
#[test]
fn no_block_of_the_page_is_left_out() {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (section, _) in blocks() {
        match counts.last_mut() {
            Some((last, count)) if *last == section => *count += 1,
            _ => counts.push((section, 1)),
        }
    }
    assert_eq!(
        counts,
        [
            ("Turns", 2),                           // all three
            ("The CRM's tables", 2),                // followed, broken
            ("The numbers back", 4),                // followed
            ("Is it behind?", 2),                   // followed
            ("Foreign tables of the warehouse", 3), // foreign, the first of them broken too
            ("A row that was refused", 3),          // broken
            ("A slot that is gone", 5),             // broken
        ]
    );
}

/// The two servers.
struct Sidecar {
    warehouse: Cluster,
    agents: Cluster,
    /// A session of the warehouse's owner.
    there: Session,
    /// A session of ours.
    here: Session,
    blocks: Vec<(&'static str, &'static str)>,
}

impl Sidecar {
    /// A warehouse with a CRM and a BI tool, in a zone of its own, and an empty database beside it.
    fn start(name: &str) -> Self {
        let settings = ["wal_level=logical", "timezone=America/New_York"];
        let warehouse = Cluster::start_with(&format!("{name}_there"), &settings);
        let agents = Cluster::start_with(
            &format!("{name}_here"),
            &["wal_retrieve_retry_interval=200ms"],
        );
        warehouse
            .session("postgres")
            .exec("CREATE DATABASE analytics");
        agents.session("postgres").exec("CREATE DATABASE agents");
        let (there, here) = (warehouse.session("analytics"), agents.session("agents"));
        there.exec(
            "CREATE ROLE metabase LOGIN PASSWORD 'metabase';
             CREATE SCHEMA crm;
             CREATE TABLE crm.tickets (
                 id uuid PRIMARY KEY, status text, closed_at timestamptz, chat text, customer text);
             CREATE TABLE crm.refunds (id integer PRIMARY KEY, refunded_at timestamptz, chat text, amount numeric);
             GRANT USAGE ON SCHEMA crm TO PUBLIC;
             GRANT SELECT ON crm.refunds TO PUBLIC",
        );
        Self {
            warehouse,
            agents,
            there,
            here,
            blocks: blocks(),
        }
    }

    /// Runs the next block of the page; it has to be of this section.
    fn next(&mut self, section: &str) {
        self.next_with(section, |block| block.to_owned());
    }

    /// Runs the next block as an edit makes it.
    fn next_with(&mut self, section: &str, edit: impl Fn(&str) -> String) {
        let (of, block) = self.blocks.remove(0);
        assert_eq!(of, section, "{block}");
        let (language, text) = block.split_once('\n').unwrap();
        let (there, here) = (self.warehouse.url("analytics"), self.agents.url("agents"));
        let mut text = edit(text);
        for (host, url) in [("warehouse.example", &there), ("agents.example", &here)] {
            text = text.replace(
                &format!("host={host} port=5432"),
                &format!("host=127.0.0.1 port={}", port(url)),
            );
            text = text.replace(
                &format!("host '{host}', port '5432'"),
                &format!("host '127.0.0.1', port '{}'", port(url)),
            );
        }
        // these servers have no certificates
        text = text
            .replace("sslmode=require", "sslmode=prefer")
            .replace("sslmode 'require'", "sslmode 'prefer'");
        assert!(!text.contains(".example"), "{text}");
        if language == "sh" {
            let bin = run("pg_config", &["--bindir"]);
            let path = format!("{}:{}", bin.trim(), std::env::var("PATH").unwrap());
            let mut shell = Command::new("bash");
            shell.args(["-euo", "pipefail", "-c", &text]);
            let output = shell
                .envs([
                    ("PATH", &path),
                    ("AGENTS_URL", &here),
                    ("WAREHOUSE_URL", &there),
                ])
                .output()
                .unwrap();
            assert!(output.status.success(), "{text}\n{output:?}");
        } else if text.starts_with("-- in the warehouse\n") {
            statements(&self.there, &text);
        } else {
            assert!(text.starts_with("-- in agents"), "{text}");
            statements(&self.here, &text);
        }
    }

    /// The program's URL, as the role that the page makes for it.
    fn program_url(&self) -> String {
        format!(
            "postgresql://agent_metrics_program:a-third-password@127.0.0.1:{}/agents",
            port(&self.agents.url("agents"))
        )
    }

    /// Inserts turns into the warehouse, an hour apart, the last of them an hour ago.
    fn insert(&self, prefix: &str, turns: u32) {
        self.there.exec(&turns_of(prefix, turns));
    }

    /// Waits until our turns and tickets are the warehouse's, refreshes as the program does it, and asserts that all is
    /// right.
    fn assert_same(&self) {
        self.until_same(
            "agent_metrics.agent_events",
            "event_id, occurred_at, cost_usd, latency_ms, outcome_label",
        );
        if self
            .here
            .value("SELECT to_regclass('crm.tickets')")
            .is_some()
        {
            self.until_same("crm.tickets", "id, status, closed_at, chat, customer");
        }
        works(&self.program_url(), &["refresh"]);
        works(&self.program_url(), &["verify"]);
        assert_no_rows(&self.here, "SELECT * FROM agent_metrics.verify()");
        assert_rollups(&self.here);
        let sums = "SELECT count(*), coalesce(sum(cost_usd), 0)::numeric(20, 2) FROM agent_metrics.agent_events";
        let counted = "SELECT coalesce(sum(turns), 0), coalesce(sum(cost_usd), 0)::numeric(20, 2)
                       FROM agent_metrics_internal.rollups WHERE level = 'day'";
        assert_eq!(self.there.lines(sums), self.here.lines(counted));
    }

    fn until_same(&self, table: &str, columns: &str) {
        let hash = format!(
            "SET timezone = 'UTC';
             SELECT coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '') FROM (SELECT {columns} FROM {table}) x"
        );
        let theirs = self.there.lines(&hash).remove(0);
        self.here.exec("SET timezone = 'UTC'");
        let ours = hash.split_once(';').unwrap().1;
        self.here.until(&format!("SELECT ({ours}) = '{theirs}'"));
    }

    /// Waits until the subscription is in a state.
    fn until_feed(&self, status: &str) {
        self.here.until(&format!(
            "SELECT coalesce(bool_and(status = '{status}'), false) FROM agent_kpi.feeds"
        ));
    }

    /// What the doctor says of subscriptions, with the cure's line behind.
    fn doctor(&self) -> String {
        let (_, said, _) = program(&self.program_url(), &["doctor"]);
        let lines: Vec<&str> = said.lines().collect();
        let found = lines.iter().position(|line| line.contains("subscription"));
        found
            .map(|at| lines[at..at + 2].join("\n"))
            .unwrap_or_default()
    }
}

/// One statement at a time, as psql sends them: a subscription is not made in a transaction.
fn statements(session: &Session, text: &str) {
    let mut statement = String::new();
    let mut is_inside = false;
    for line in text.split_inclusive('\n') {
        statement.push_str(line);
        is_inside ^= line.matches("$$").count() % 2 == 1;
        if !is_inside && line.trim_end().ends_with(';') {
            session.exec(&statement);
            statement.clear();
        }
    }
    assert_eq!(statement.trim(), "", "a statement without an end");
}

/// The statement that inserts turns, as [`Sidecar::insert`] has it.
fn turns_of(prefix: &str, turns: u32) -> String {
    format!(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, tools_called, latency_ms,
             token_usage_input, token_usage_output, cost_usd, outcome_label)
         SELECT 'support-bot', now() - n * interval '1 hour', '{prefix}-' || n / 3, 'u-' || n % 7,
                '[\"lookup\"]', 100 + n, 1000, 50, 0.01 * n, CASE WHEN n % 3 = 0 THEN 'resolved' END
         FROM generate_series(1, {turns}) AS n"
    )
}
