//! `doctor`: what is wrong, and how to mend each.
//!
//! A finding is a fault of the install or of the facts; its cure is words, then statements or commands that can be run
//! as they stand, or with `<gaps>` to be filled in: where only a person knows what is right nothing is guessed, and
//! what has a gap is no SQL until somebody has thought. A note is what one has to know though nothing is wrong, such as
//! an open breach: it does not count. Each question is put to the facts, so that what was mended is gone at once.
//!
//! The questions are SQL that gives two texts a row, what is wrong and its cure; by subject: [`install`], [`facts`],
//! [`people`], [`notes`].

/// SQL of a text as a shell reads one word: an agent's name in a command that is to be pasted.
macro_rules! shell_word {
    ($text:literal) => {
        concat!(
            "CASE WHEN ",
            $text,
            " ~ '^[A-Za-z0-9_.-]+$' THEN ",
            $text,
            " ELSE '''' || replace(",
            $text,
            ", '''', '''\\''''') || '''' END"
        )
    };
}

mod facts;
mod install;
mod notes;
mod people;

use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

use crate::program::connect::{
    config::Server,
    extension,
    timeouts::{Limits, limited},
    writable::WriteAccess,
};
use crate::program::scheduler::{jobs, lease};
use crate::program::{error, text};
use crate::say;

/// What one look may wait for and take: a table that somebody has locked is named, and the rest is looked at.
const LIMITS: Limits = Limits::new(Duration::from_secs(2), Duration::from_secs(120));

/// How to find who holds a lock.
const WHO_HOLDS: &str = "it is tried again by itself. Who holds a lock: SELECT pid, usename, \
                         state, xact_start, query FROM pg_stat_activity WHERE xact_start < now() - \
                         interval '10 seconds'; SELECT pg_terminate_backend(<pid>) ends him";

/// Something that is wrong, and its cure.
struct Finding {
    what: String,
    cure: String,
}

impl Finding {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// Prints the findings and the notes, and returns how many findings there were.
pub async fn print(client: &Client, server: &Server) -> Result<usize> {
    let mut findings: Vec<Finding> = WriteAccess::look(client)
        .await?
        .findings(server)
        .into_iter()
        .map(|(what, cure)| Finding { what, cure })
        .collect();
    let (mut notes, mut is_complete) = (Vec::new(), true);
    match extension::complaint(client, server).await? {
        // as every other command says it, the cure in the same line
        Some(complaint) => {
            say!("- {complaint}");
            is_complete = false;
        }
        None => {
            look(client, &mut findings, &mut notes).await?;
            if findings.is_empty() && notes.is_empty() {
                say!(
                    "all is well: agent_metrics {}, every agent fresh, every label mapped",
                    extension::VERSION
                );
                return Ok(0);
            }
            if findings.is_empty() {
                say!(
                    "nothing is wrong with agent_metrics {}; what there is to know:",
                    extension::VERSION
                );
            }
        }
    }
    for finding in &findings {
        say!("- {}", finding.what);
        say!("  cure: {}", finding.cure);
    }
    for note in &notes {
        say!("* {}", note.what);
        say!("  next: {}", note.cure);
    }
    Ok(findings.len() + usize::from(!is_complete))
}

async fn look(
    client: &Client,
    findings: &mut Vec<Finding>,
    notes: &mut Vec<Finding>,
) -> Result<()> {
    if lease::who_leads(client).await?.is_none() {
        findings.push(Finding::new(
            "no scheduler runs on this database",
            "unless cron calls agent-metrics once, start one as a service: agent-metrics run",
        ));
    }
    let before = findings.len();
    ask(client, install::TIME, findings).await?;
    if findings.len() > before {
        // no day can be told, so no other question has an answer
        return Ok(());
    }
    for agent in jobs::everybody(client).await?.unreadable {
        findings.push(Finding::new(
            format!("agent {agent} cannot be refreshed: {}", jobs::UNREADABLE),
            "psql: UPDATE agent_metrics.agent_events SET agent_id = a name in UTF-8, then register_agent() with it",
        ));
    }
    for questions in [install::QUESTIONS, facts::QUESTIONS, people::QUESTIONS] {
        ask(client, questions, findings).await?;
    }
    ask(client, notes::QUESTIONS, notes).await
}

/// Puts questions, each within limits of its own: one that fails is named, and the others are asked.
async fn ask(client: &Client, questions: &[&str], findings: &mut Vec<Finding>) -> Result<()> {
    for question in questions {
        // Bytes, since a SQL_ASCII database holds text of any encoding.
        let sql = format!(
            "SELECT convert_to(q.what, 'SQL_ASCII'), convert_to(q.cure, 'SQL_ASCII')
             FROM ({question}) AS q (what, cure)"
        );
        let found = limited(client, LIMITS, async || {
            let rows = client.query(&sql, &[]).await?;
            rows.iter()
                .map(|row| {
                    Ok(Finding::new(
                        text::bytes(row.try_get(0)?),
                        text::bytes(row.try_get(1)?),
                    ))
                })
                .collect::<Result<Vec<_>>>()
        });
        match found.await {
            Ok(found) => findings.extend(found),
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) => findings.push(Finding::new(
                format!("could not look at everything: {}", error::of(&error)),
                WHO_HOLDS,
            )),
        }
    }
    Ok(())
}
