//! `run`: the scheduler.
//!
//! Purpose: refresh each agent when its cadence says so, for as long as the process lives.
//!
//! State: none but the sessions, the lease, and how often an agent has failed in a row. What is due, and since when, is
//! the database's to say, so runs missed while nothing ran are caught up once and nothing queues.
//!
//! Four sessions: one refreshes and does nothing else, so that nothing holds up a refresh; one brings the facts up
//! before it, for which the refresh waits [`BRING_UP`] at most, and does thresholds, audits and partitions after it;
//! one sends alerts; one renews the lease.
//!
//! Failure: a lost server is sought again with growing patience. An agent that fails is tried again with growing
//! patience too, alone, and blocks nobody. Any other job is tried again in the next round; what fails is a row of
//! `agent_metrics_internal.job_problems`. A database whose version is another's ends the program: waiting would not
//! mend it. On SIGTERM or SIGINT the running statement is cancelled (a refresh is one transaction, so nothing is half
//! done), the lease is let go, the sessions are closed, and the program exits 0.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::program::alerts::Outbox;
use crate::program::connect::{Database, config::Server, extension, writable};
use crate::program::scheduler::clock::{Backoff, Clock};
use crate::program::scheduler::lease::{self, Candidate};
use crate::program::scheduler::{around, jobs, problems::Problems};
use crate::program::{error, shutdown::Stop};

/// The scheduler looks again after this time at the latest: a newly registered agent waits no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// And not before this time: an agent that another session is refreshing stays due meanwhile.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a follower asks for the lead.
const FOLLOWER_PAUSE: Duration = Duration::from_secs(2);
/// How long a refresh waits for the facts to be brought up.
const BRING_UP: Duration = Duration::from_secs(5);
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
            Ok(End::Told) => {
                info!("stopped");
                return Ok(());
            }
            Ok(End::Followed) => {
                warn!("another has taken the lead");
                continue;
            }
            Err(error) if has_begun && error::is_lost(&error) => error,
            Err(error) => return Err(error),
        };
        if scheduler.rounds.did_work.swap(false, Ordering::Relaxed) {
            backoff.succeeded();
        }
        let wait = backoff.failed();
        warn!(
            "lost the server, looking again in {} s: {}",
            wait.as_secs(),
            error::one_line(&lost, Some(server))
        );
        tokio::select! {
            () = clock.sleep(wait) => {}
            () = stop.told() => return Ok(()),
        }
    }
}

/// Why a session came to its end.
enum End {
    /// The order to stop.
    Told,
    /// Another leads.
    Followed,
}

/// What outlives a session.
#[derive(Default)]
struct Scheduler {
    candidate: Candidate,
    rounds: Rounds,
    chores: Chores,
    alerts: Alerts,
}

impl Scheduler {
    /// One session, from its opening to its end, or its loss (Err).
    async fn session(
        &mut self,
        server: &Server,
        clock: &impl Clock,
        stop: &mut Stop,
        has_begun: &mut bool,
    ) -> Result<End> {
        let main = tokio::select! {
            opened = Database::open(server) => opened?,
            () = stop.told() => return Ok(End::Told),
        };
        let outcome = tokio::select! {
            followed = self.follow(&main, server, clock, has_begun) => followed.map(Some),
            () = stop.told() => Ok(None),
        };
        let outcome = match outcome {
            Ok(Some(term)) => self.lead(&main, term, server, clock, stop).await,
            Ok(None) => {
                info!("told to stop");
                main.cancel().await;
                self.candidate.release(&main).await;
                Ok(End::Told)
            }
            Err(error) => Err(error),
        };
        main.close().await;
        outcome
    }

    /// Waits for the lead, and returns its term.
    async fn follow(
        &self,
        main: &Database,
        server: &Server,
        clock: &impl Clock,
        has_begun: &mut bool,
    ) -> Result<i64> {
        extension::check(main, server).await?;
        writable::check(main, server, *has_begun).await?;
        *has_begun = true;
        info!("connected to {server:?}");
        let mut follows = false;
        loop {
            match self.candidate.try_lead(main).await {
                Ok(Some(term)) => return Ok(term),
                Ok(None) => {}
                Err(error) if error::is_locked(&error) => {
                    warn!("the lease cannot be asked for: {}", error::of(&error));
                }
                Err(error) => return Err(error),
            }
            if !std::mem::replace(&mut follows, true) {
                let who = lease::who_leads(main)
                    .await?
                    .unwrap_or_else(|| "another".to_owned());
                info!("following: {who} leads; this one takes over when it stops");
            }
            clock.sleep(FOLLOWER_PAUSE).await;
        }
    }

    /// Leads until told to stop, or until another does.
    async fn lead(
        &mut self,
        main: &Database,
        term: i64,
        server: &Server,
        clock: &impl Clock,
        stop: &mut Stop,
    ) -> Result<End> {
        info!("leading: agents are refreshed when their cadence says so");
        let opened = tokio::select! {
            opened = async {
                tokio::try_join!(Database::open(server), Database::open(server), Database::open(server))
            } => opened.map(Some),
            () = stop.told() => Ok(None),
        };
        let (chores, alerts, lease) = match opened {
            Ok(Some(sessions)) => sessions,
            outcome => {
                self.candidate.release(main).await;
                return outcome.map(|_| End::Told);
            }
        };
        let outcome = {
            let (asks, asked) = mpsc::channel(2);
            let was_refreshed = AtomicBool::new(true);
            let may_send = Notify::new();
            let work = async {
                tokio::try_join!(
                    self.rounds.run(main, server, clock, asks, &was_refreshed),
                    self.chores
                        .run(&chores, clock, asked, &was_refreshed, &may_send),
                    self.alerts.run(&alerts, clock, &may_send),
                )
            };
            tokio::select! {
                ended = work => ended.map(|_| End::Told),
                kept = self.candidate.keep(&lease, term) => kept.map(|()| End::Followed),
                () = stop.told() => {
                    info!("told to stop");
                    Ok(End::Told)
                }
            }
        };
        tokio::join!(main.cancel(), chores.cancel(), alerts.cancel());
        // By the session that is in no transaction.
        self.candidate.release(&lease).await;
        tokio::join!(chores.close(), alerts.close(), lease.close());
        outcome
    }
}

/// What is asked of [`Chores`].
enum Chore {
    /// The facts, and to be told when they are there.
    BringUp(oneshot::Sender<()>),
    /// All the rest.
    AfterRound,
}

/// The refreshes.
#[derive(Default)]
struct Rounds {
    /// Agents that failed: how long each is held back, and until when.
    held_back: HashMap<String, (Backoff, DateTime<Utc>)>,
    problems: Problems,
    did_work: AtomicBool,
}

impl Rounds {
    /// Refreshes what is due, again and again. Ends only by an error: also when the extension was updated under it, so
    /// that a newer program may lead.
    async fn run(
        &mut self,
        database: &Database,
        server: &Server,
        clock: &impl Clock,
        asks: mpsc::Sender<Chore>,
        was_refreshed: &AtomicBool,
    ) -> Result<()> {
        let mut facts: Option<oneshot::Receiver<()>> = None;
        loop {
            extension::check(database, server).await?;
            let (due, suspects) = self.due(database, clock).await?;
            if !due.is_empty() || !suspects.is_empty() {
                bring_up(&asks, &mut facts).await;
            }
            let round = jobs::refresh_agents(database, &due, &suspects, false).await?;
            if !round.refreshed.is_empty() {
                was_refreshed.store(true, Ordering::Relaxed);
            }
            self.say(round, clock.now());
            self.problems.record(database).await?;
            // When one is waiting already it does for this round too.
            let _ = asks.try_send(Chore::AfterRound);
            self.did_work.store(true, Ordering::Relaxed);
            let held_back: Vec<String> = self.held_back.keys().cloned().collect();
            clock
                .sleep(pause(jobs::seconds_to_next(database, &held_back).await?))
                .await;
        }
    }

    /// Agents that are due and not held back, and those of them that failed before.
    async fn due(
        &mut self,
        database: &Database,
        clock: &impl Clock,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let now = clock.now();
        let jobs::Named {
            agents: mut due,
            unreadable,
        } = jobs::due(database).await?;
        for agent in unreadable {
            self.problems
                .note("refresh", &agent, Some(jobs::UNREADABLE.to_owned()));
        }
        self.held_back.retain(|agent, _| due.contains(agent));
        due.retain(|agent| {
            self.held_back
                .get(agent)
                .is_none_or(|(_, until)| *until <= now)
        });
        Ok(due
            .into_iter()
            .partition(|agent| !self.held_back.contains_key(agent)))
    }

    /// Says what came of a round, and holds back who failed.
    fn say(&mut self, round: jobs::Round, now: DateTime<Utc>) {
        jobs::note(&round, &mut self.problems);
        for refreshed in round.refreshed {
            // What found nothing new is not news.
            if refreshed.events_changed == 0 && refreshed.buckets_written == 0 {
                debug!("refreshed {refreshed}");
            } else {
                info!("refreshed {refreshed}");
            }
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
    }
}

/// Has the facts brought up, and waits for it a little. While an earlier call is still at it there is
/// nothing to wait for.
async fn bring_up(asks: &mpsc::Sender<Chore>, facts: &mut Option<oneshot::Receiver<()>>) {
    if let Some(earlier) = facts
        && matches!(earlier.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    {
        return;
    }
    let (reply, mut told) = oneshot::channel();
    // No room: the chores are long over their time.
    if asks.try_send(Chore::BringUp(reply)).is_err() {
        return;
    }
    // Real time: it bounds what the server may take.
    *facts = match tokio::time::timeout(BRING_UP, &mut told).await {
        Ok(_) => None,
        Err(_) => {
            warn!(
                "attached tables and prices take longer than {} s; agents are refreshed without them",
                BRING_UP.as_secs()
            );
            Some(told)
        }
    };
}

/// What goes with the refreshes, in a session of its own.
#[derive(Default)]
struct Chores {
    partitions_seen_to: Option<DateTime<Utc>>,
    audited: Option<DateTime<Utc>>,
    problems: Problems,
}

impl Chores {
    /// Does what it is asked for. Ends only by an error.
    async fn run(
        &mut self,
        database: &Database,
        clock: &impl Clock,
        mut asked: mpsc::Receiver<Chore>,
        was_refreshed: &AtomicBool,
        may_send: &Notify,
    ) -> Result<()> {
        while let Some(chore) = asked.recv().await {
            match chore {
                Chore::BringUp(reply) => {
                    around::bring_up(database, &mut self.problems).await?;
                    // Who asked may have gone on.
                    let _ = reply.send(());
                }
                Chore::AfterRound => {
                    if was_refreshed.swap(false, Ordering::Relaxed)
                        && !around::settle(database, &mut self.problems).await?
                    {
                        was_refreshed.store(true, Ordering::Relaxed);
                    }
                    self.audit(database, clock).await?;
                    may_send.notify_one();
                    self.see_to_partitions(database, clock).await?;
                }
            }
            self.problems.record(database).await?;
        }
        Ok(())
    }

    /// Audits once a minute. What fails is tried again in the next round.
    async fn audit(&mut self, database: &Database, clock: &impl Clock) -> Result<()> {
        let now = clock.now();
        let every = chrono::Duration::from_std(AUDITS_EVERY).unwrap_or_default();
        // A clock that was put back counts as well.
        if self
            .audited
            .is_some_and(|then| now >= then && now - then < every)
        {
            return Ok(());
        }
        let found = jobs::audits(database).await;
        if let Some(found) = self.problems.take("audits", "", found)? {
            self.audited = Some(now);
            for found in found {
                found.tell();
            }
        }
        Ok(())
    }

    /// Traces and partitions, once a day, and soon again when partitions failed: somebody may hold a lock.
    async fn see_to_partitions(&mut self, database: &Database, clock: &impl Clock) -> Result<()> {
        let now = clock.now();
        let every = chrono::Duration::from_std(PARTITIONS_EVERY).unwrap_or_default();
        if self
            .partitions_seen_to
            .is_some_and(|then| now >= then && now - then < every)
        {
            return Ok(());
        }
        let closed = jobs::close_traces(database).await;
        self.problems.take("traces", "", closed)?;
        let made = jobs::ensure_partitions(database).await;
        if let Some(made) = self.problems.take("partitions", "", made)? {
            self.partitions_seen_to = Some(now);
            if made > 0 {
                info!("made {made} partitions");
            }
        }
        Ok(())
    }
}

/// The alerts, in a session of their own: a receiver that does not answer holds up nothing else.
#[derive(Default)]
struct Alerts {
    problems: Problems,
}

impl Alerts {
    async fn run(
        &mut self,
        database: &Database,
        clock: &impl Clock,
        may_send: &Notify,
    ) -> Result<()> {
        let outbox = Outbox::from_environment()?;
        loop {
            may_send.notified().await;
            let delivered = outbox.deliver(database, clock).await;
            if let Some(delivered) = self.problems.take("alerts", "", delivered)?
                && delivered.sent > 0
            {
                info!("sent {} alerts", delivered.sent);
            }
            self.problems.record(database).await?;
        }
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
