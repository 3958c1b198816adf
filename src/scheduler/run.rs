//! `run`: the scheduler.
//!
//! Purpose: refresh each agent when its cadence says so, for as long as the process lives.
//!
//! State: none but the session, and how often an agent has failed in a row. What is due, and since when, is the
//! database's to say, so runs missed while nothing ran are caught up once and nothing queues.
//!
//! Failure: a lost server is sought again with growing patience. An agent that fails is tried again with growing
//! patience too, alone, and blocks nobody. A database whose version is another's ends the program: waiting would not
//! mend it. On SIGTERM or SIGINT the running statement is cancelled (a refresh is one transaction, so nothing is half
//! done), the session is closed, and the program exits 0.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use tracing::{error, info, warn};

use super::clock::{Backoff, Clock};
use super::config::Server;
use super::connect::Database;
use super::notify::Outbox;
use super::stop::Stop;
use super::{advice, extension, jobs, leader};

/// The scheduler looks again after this time at the latest: a newly registered agent waits no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// And not before this time: an agent that another session is refreshing stays due meanwhile.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a follower asks for the lead.
const FOLLOWER_PAUSE: Duration = Duration::from_secs(2);
/// How often audits are looked after.
const AUDITS_EVERY: Duration = Duration::from_secs(60);
/// How often partitions are seen to.
const PARTITIONS_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until it is told to stop. The first session must succeed: a wrong address or password is said at once.
pub async fn run(server: &Server, clock: &impl Clock, mut stop: Stop) -> Result<()> {
    let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
    let mut scheduler = Scheduler::default();
    let mut has_begun = false;
    loop {
        let lost = match scheduler
            .session(server, clock, &mut stop, &mut has_begun)
            .await
        {
            Ok(()) => {
                info!("stopped");
                return Ok(());
            }
            Err(error) if has_begun && advice::is_lost(&error) => error,
            Err(error) => return Err(error),
        };
        if std::mem::take(&mut scheduler.did_work) {
            backoff.succeeded();
        }
        let wait = backoff.failed();
        warn!(
            "lost the server, looking again in {} s: {}",
            wait.as_secs(),
            advice::one_line(&lost, Some(server))
        );
        tokio::select! {
            () = clock.sleep(wait) => {}
            () = stop.told() => return Ok(()),
        }
    }
}

/// What outlives a session.
#[derive(Default)]
struct Scheduler {
    /// Agents that failed: how long each is held back, and until when.
    held_back: HashMap<String, (Backoff, DateTime<Utc>)>,
    partitions_seen_to: Option<DateTime<Utc>>,
    audited: Option<DateTime<Utc>>,
    did_work: bool,
}

impl Scheduler {
    /// One session, from its opening to the order to stop (Ok) or its loss (Err).
    async fn session(
        &mut self,
        server: &Server,
        clock: &impl Clock,
        stop: &mut Stop,
        has_begun: &mut bool,
    ) -> Result<()> {
        let database = tokio::select! {
            opened = Database::open(server) => opened?,
            () = stop.told() => return Ok(()),
        };
        let outcome = tokio::select! {
            outcome = self.work(&database, server, clock, has_begun) => outcome,
            () = stop.told() => {
                info!("told to stop");
                database.cancel().await;
                Ok(())
            }
        };
        database.close().await;
        outcome
    }

    /// Leads when it can, and refreshes what is due. Ends only by an error.
    async fn work(
        &mut self,
        database: &Database,
        server: &Server,
        clock: &impl Clock,
        has_begun: &mut bool,
    ) -> Result<()> {
        extension::check(database, server).await?;
        *has_begun = true;
        info!("connected to {server:?}");
        let mut follows = false;
        while !leader::try_lead(database).await? {
            if !std::mem::replace(&mut follows, true) {
                let who = leader::who_leads(database)
                    .await?
                    .unwrap_or_else(|| "another".to_owned());
                info!("following: {who} leads; this one takes over when it stops");
            }
            clock.sleep(FOLLOWER_PAUSE).await;
        }
        info!("leading: agents are refreshed when their cadence says so");
        let outbox = Outbox::from_environment()?;
        loop {
            self.see_to_partitions(database, clock).await?;
            self.round(database, clock).await?;
            self.audit(database, &outbox, clock).await?;
            self.did_work = true;
            let held_back: Vec<String> = self.held_back.keys().cloned().collect();
            clock
                .sleep(pause(jobs::seconds_to_next(database, &held_back).await?))
                .await;
        }
    }

    /// Refreshes what is due and not held back, and says what came of it.
    async fn round(&mut self, database: &Database, clock: &impl Clock) -> Result<()> {
        let now = clock.now();
        let mut due = jobs::due(database).await?;
        self.held_back.retain(|agent, _| due.contains(agent));
        due.retain(|agent| {
            self.held_back
                .get(agent)
                .is_none_or(|(_, until)| *until <= now)
        });
        let round = jobs::refresh(database, &due, false).await?;
        if !round.refreshed.is_empty() {
            for change in jobs::evaluate(database).await? {
                info!("breach {change}");
            }
        }
        for refreshed in round.refreshed {
            info!("refreshed {refreshed}");
            self.held_back.remove(&refreshed.agent_id);
        }
        for (agent, words) in round.failed {
            let first = || {
                (
                    Backoff::new(LONGEST_PAUSE, Duration::from_secs(60 * 60)),
                    now,
                )
            };
            let (backoff, until) = self.held_back.entry(agent.clone()).or_insert_with(first);
            let wait = backoff.failed();
            *until = now + wait;
            error!(
                "could not refresh {agent}, trying again in {} s: {words}",
                wait.as_secs()
            );
        }
        Ok(())
    }

    /// Audits once a minute, and alerts in each round. What fails is tried again in the next.
    async fn audit(
        &mut self,
        database: &Database,
        outbox: &Outbox,
        clock: &impl Clock,
    ) -> Result<()> {
        let now = clock.now();
        let every = chrono::Duration::from_std(AUDITS_EVERY).unwrap_or_default();
        if self.audited.is_none_or(|then| now - then >= every) {
            match jobs::audits(database).await {
                Ok(found) => {
                    self.audited = Some(now);
                    for words in found {
                        warn!("{words}");
                    }
                }
                Err(error) if advice::is_lost(&error) => return Err(error),
                Err(error) => error!("could not audit: {}", advice::one_line(&error, None)),
            }
        }
        match outbox.deliver(database, clock).await {
            Ok(delivered) if delivered.sent > 0 => info!("sent {} alerts", delivered.sent),
            Ok(_) => {}
            Err(error) if advice::is_lost(&error) => return Err(error),
            Err(error) => error!("could not deliver: {}", advice::one_line(&error, None)),
        }
        Ok(())
    }

    /// Once a day, and soon again when it failed: somebody may hold a lock.
    async fn see_to_partitions(&mut self, database: &Database, clock: &impl Clock) -> Result<()> {
        let now = clock.now();
        if self.partitions_seen_to.is_some_and(|then| {
            now - then < chrono::Duration::from_std(PARTITIONS_EVERY).unwrap_or_default()
        }) {
            return Ok(());
        }
        match jobs::ensure_partitions(database).await {
            Ok(made) => {
                self.partitions_seen_to = Some(now);
                if made > 0 {
                    info!("made {made} partitions");
                }
            }
            Err(error) if advice::is_lost(&error) => return Err(error),
            Err(error) => warn!(
                "could not make partitions, trying again soon: {}",
                advice::one_line(&error, None)
            ),
        }
        Ok(())
    }
}

/// How long to wait when the next agent is due in so many seconds.
fn pause(seconds_to_next: Option<f64>) -> Duration {
    let seconds = seconds_to_next
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(f64::MAX);
    Duration::from_secs_f64(
        seconds.clamp(SHORTEST_PAUSE.as_secs_f64(), LONGEST_PAUSE.as_secs_f64()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_the_next_agent_is_due_but_is_neither_short_nor_long() {
        assert_eq!(pause(Some(12.5)), Duration::from_millis(12_500));
        assert_eq!(pause(Some(-3.0)), SHORTEST_PAUSE);
        assert_eq!(pause(Some(86_400.0)), LONGEST_PAUSE);
        assert_eq!(pause(None), LONGEST_PAUSE);
        assert_eq!(pause(Some(f64::INFINITY)), LONGEST_PAUSE);
    }
}
