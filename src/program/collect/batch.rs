//! From documents to commits: what comes in one moment is one transaction.
//!
//! Purpose: a thousand small requests a second are few commits, and each is answered only after its own.
//!
//! State: a queue, and a few writers, each with a session. A writer takes what waits, gathers for [`GATHER`] at most,
//! and commits; meanwhile the others do the same, and what comes later waits. When a batch fails on its data it is
//! divided until the document at fault is alone; storing is idempotent, so a document may be tried again whenever its
//! fate is unknown.
//!
//! Failure: a lost server is sought again with growing patience, and meanwhile whoever sends is told to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::measures::spans::content::beginning;
use crate::program::collect::tokens::Sender;
use crate::program::connect::timeouts::{Limits, limited};
use crate::program::connect::{Database, config::Server, extension, writable};
use crate::program::error;
use crate::program::scheduler::clock::Backoff;
use crate::program::shutdown::Stop;

/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(10);
/// Most documents of a batch.
const DOCUMENTS: usize = 2000;
/// So many bytes of documents make a batch, which then waits for no others. A larger one would leave what comes in one
/// moment to one writer alone.
const BYTES: usize = 256 * 1024;
/// How long a statement may wait for a lock, and how long it may take.
const LIMITS: Limits = Limits::new(Duration::from_secs(8), Duration::from_secs(30));
/// How often a batch is tried that another session was in the way of.
const ATTEMPTS: u32 = 5;
/// Sessions that write.
const WRITERS: usize = 2;
/// Documents that wait.
const QUEUE: usize = 10_000;
/// A server that says nothing for so long is gone, whatever it was asked.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest words of the database that a sender is told.
const WORDS: usize = 500;

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is committed.
    Stored,
    /// It never can be, and why.
    Refused(String),
    /// The database did not take it now.
    Later,
}

/// A document on its way.
struct Work {
    document: String,
    sender: Arc<Sender>,
    answer: oneshot::Sender<Fate>,
    /// Its share of the memory, given back when it is done with.
    _memory: OwnedSemaphorePermit,
}

/// Where documents are handed in.
#[derive(Clone)]
pub struct Intake {
    queue: mpsc::Sender<Work>,
    failing: Arc<AtomicUsize>,
}

/// Why a document was not even taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Too many wait.
    Full,
    /// The database is away.
    Away,
}

impl Intake {
    /// Whether a writer has a session, or may get one.
    pub fn is_open(&self) -> bool {
        self.failing.load(Ordering::Relaxed) < WRITERS
    }

    /// Hands a document in; what comes back tells its fate.
    pub fn take(
        &self,
        document: String,
        sender: Arc<Sender>,
        memory: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Fate>, Closed> {
        if !self.is_open() {
            return Err(Closed::Away);
        }
        let (answer, fate) = oneshot::channel();
        let work = Work {
            document,
            sender,
            answer,
            _memory: memory,
        };
        self.queue.try_send(work).map_err(|_| Closed::Full)?;
        Ok(fate)
    }
}

/// The writers' side of the queue.
pub struct Writers {
    queue: Arc<Mutex<mpsc::Receiver<Work>>>,
    /// Writers that did not get a session when they last tried.
    failing: Arc<AtomicUsize>,
}

/// A queue.
pub fn channel() -> (Intake, Writers) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let failing = Arc::new(AtomicUsize::new(0));
    let intake = Intake {
        queue: sender,
        failing: failing.clone(),
    };
    let queue = Arc::new(Mutex::new(receiver));
    (intake, Writers { queue, failing })
}

impl Writers {
    /// Writes until nobody is left to hand anything in.
    pub async fn run(self, server: &Server, stop: &Stop) -> Result<()> {
        let writers = (0..WRITERS).map(|_| {
            let writer = Writer {
                server: server.clone(),
                queue: self.queue.clone(),
                failing: self.failing.clone(),
            };
            tokio::spawn(writer.run(stop.clone()))
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await?;
        }
        Ok(())
    }
}

struct Writer {
    server: Server,
    queue: Arc<Mutex<mpsc::Receiver<Work>>>,
    /// Writers that did not get a session when they last tried.
    failing: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(self, mut stop: Stop) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        // What was in hand when a session was lost: it is tried once more, in a new one.
        let mut in_hand = Vec::new();
        let mut is_again = false;
        loop {
            let lost = match self.open().await {
                Ok(database) => {
                    let outcome = self.write(&database, &mut in_hand).await;
                    database.close().await;
                    match outcome {
                        Ok(()) => return,
                        Err(Lost { error, was_of_use }) => {
                            if was_of_use {
                                backoff.succeeded();
                                is_again = false;
                            }
                            is_again = !is_again;
                            if is_again {
                                tracing::warn!("lost a session: {}", self.words(&error));
                                continue;
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            is_again = false;
            for work in in_hand.drain(..) {
                tell(work, Fate::Later);
            }
            let wait = backoff.failed();
            tracing::warn!(
                "the database takes nothing, looking again soon: {}",
                self.words(&lost)
            );
            self.failing.fetch_add(1, Ordering::Relaxed);
            let is_over = self.turn_away(wait, &mut stop).await;
            self.failing.fetch_sub(1, Ordering::Relaxed);
            if is_over {
                return;
            }
        }
    }

    fn words(&self, error: &anyhow::Error) -> String {
        error::one_line(error, Some(&self.server))
    }

    async fn open(&self) -> Result<Database> {
        let database = Database::open(&self.server).await?;
        let fits = async {
            extension::check(&database, &self.server).await?;
            writable::check(&database, &self.server, true).await
        };
        match fits.await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// While all writers are failing, whoever waits is sent away. Comes back when it is time to look again; true: it is
    /// the end.
    async fn turn_away(&self, wait: Duration, stop: &mut Stop) -> bool {
        let end = Instant::now() + wait;
        loop {
            let next = async {
                if self.failing.load(Ordering::Relaxed) < WRITERS {
                    return std::future::pending().await;
                }
                self.queue.lock().await.recv().await
            };
            tokio::select! {
                work = next => match work {
                    Some(work) => tell(work, Fate::Later),
                    None => return true,
                },
                () = tokio::time::sleep_until(end) => return false,
                () = stop.told() => return true,
            }
        }
    }

    /// Writes until the queue ends (Ok) or the session is lost.
    async fn write(&self, database: &Database, in_hand: &mut Vec<Work>) -> Result<(), Lost> {
        let mut was_of_use = false;
        loop {
            if in_hand.is_empty() {
                *in_hand = self.gather().await;
            }
            if in_hand.is_empty() {
                return Ok(());
            }
            store(database, in_hand)
                .await
                .map_err(|error| Lost { error, was_of_use })?;
            was_of_use = true;
        }
    }

    /// What waits, and what comes within a moment. Nothing: the queue has ended.
    async fn gather(&self) -> Vec<Work> {
        let mut batch = Vec::new();
        let mut queue = self.queue.lock().await;
        let first = loop {
            match queue.recv().await {
                // Who has gone will come again.
                Some(work) if work.answer.is_closed() => {}
                Some(work) => break work,
                None => return batch,
            }
        };
        let end = Instant::now() + GATHER;
        let mut bytes = first.document.len();
        batch.push(first);
        while batch.len() < DOCUMENTS && bytes < BYTES {
            let Ok(Some(next)) = tokio::time::timeout_at(end, queue.recv()).await else {
                break;
            };
            bytes += next.document.len();
            batch.push(next);
        }
        batch
    }
}

/// A session that is gone.
struct Lost {
    error: anyhow::Error,
    /// Something was written in it.
    was_of_use: bool,
}

fn tell(work: Work, fate: Fate) {
    // Who has gone will come again, and nothing is stored twice.
    let _ = work.answer.send(fate);
}

/// Stores a batch and tells each its fate. An error: the session is lost, and what is left of the batch is as it was.
async fn store(database: &Database, batch: &mut Vec<Work>) -> Result<()> {
    // Parts of the batch, each to be one transaction, the next one last.
    let mut sizes = vec![batch.len()];
    let mut attempts = 0;
    while let Some(size) = sizes.pop() {
        let from = batch.len() - size;
        let committed = tokio::time::timeout(SILENCE, commit(database, &batch[from..])).await;
        let error = match committed {
            Ok(Ok(())) => {
                batch
                    .drain(from..)
                    .for_each(|work| tell(work, Fate::Stored));
                attempts = 0;
                continue;
            }
            Ok(Err(error)) if !error::is_lost(&error) => error,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        match fault(&error) {
            Fault::Others if attempts < ATTEMPTS => {
                attempts += 1;
                sizes.push(size);
            }
            Fault::Data if size > 1 => sizes.extend([size / 2, size - size / 2]),
            Fault::Data => {
                let mut words = error::of(&error);
                words.truncate(beginning(&words, WORDS).len());
                batch
                    .drain(from..)
                    .for_each(|work| tell(work, Fate::Refused(words.clone())));
            }
            _ => {
                tracing::warn!(
                    "the database does not take {size} requests: {}",
                    error::of(&error)
                );
                batch.drain(from..).for_each(|work| tell(work, Fate::Later));
            }
        }
    }
    Ok(())
}

/// Whose fault an error is.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// A value is impossible: it will be so again.
    Data,
    /// Another session was in the way: at once again.
    Others,
    /// Something that time or an operator mends.
    Database,
}

fn fault(error: &anyhow::Error) -> Fault {
    let code = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    match code {
        Some(code) if *code == SqlState::T_R_DEADLOCK_DETECTED => Fault::Others,
        Some(code) if *code == SqlState::T_R_SERIALIZATION_FAILURE => Fault::Others,
        Some(code) if ["22", "23", "54", "P0"].contains(&&code.code()[..2]) => Fault::Data,
        _ => Fault::Database,
    }
}

/// Documents of one sender make one list.
const STORE: &str = "SELECT sum(s.stored)::bigint
                     FROM unnest($1::text[], $2::text[]) AS d (document, sender)
                     CROSS JOIN LATERAL agent_metrics.ingest_as(d.document::jsonb, nullif(d.sender, '')) s";

/// Stores documents in one transaction.
async fn commit(database: &Database, batch: &[Work]) -> Result<()> {
    let mut senders: Vec<&Arc<Sender>> = Vec::new();
    let mut documents: Vec<String> = Vec::new();
    for work in batch {
        match senders.iter().position(|sender| *sender == &work.sender) {
            Some(place) => {
                let list = &mut documents[place];
                list.push(',');
                list.push_str(&work.document);
            }
            None => {
                senders.push(&work.sender);
                documents.push(format!("[{}", work.document));
            }
        }
    }
    documents.iter_mut().for_each(|list| list.push(']'));
    let names: Vec<&str> = senders.iter().map(|sender| sender.name.as_str()).collect();
    let parameters: [&(dyn ToSql + Sync); 2] = [&documents, &names];
    limited(database, LIMITS, async || {
        database.query_one(STORE, &parameters).await?;
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[test]
    fn a_queue_that_is_full_takes_nothing_and_forgets_nothing() {
        let (intake, writers) = channel();
        let memory = Arc::new(Semaphore::new(QUEUE + 1));
        let sender = Arc::new(Sender {
            name: String::new(),
        });
        let hand_in = || {
            let share = memory.clone().try_acquire_owned().unwrap();
            intake.take("{}".to_owned(), sender.clone(), share)
        };
        let fates: Vec<_> = (0..QUEUE).map(|_| hand_in().unwrap()).collect();
        assert_eq!(hand_in().unwrap_err(), Closed::Full);
        assert_eq!(
            memory.available_permits(),
            1,
            "what was not taken holds no memory"
        );
        // one that is done with makes room for one
        let done = writers.queue.try_lock().unwrap().try_recv().unwrap();
        tell(done, Fate::Stored);
        assert!(hand_in().is_ok());
        assert_eq!(fates.len(), QUEUE);
        // without a writer that has a session the door says so at once
        intake.failing.store(WRITERS, Ordering::Relaxed);
        assert_eq!(hand_in().unwrap_err(), Closed::Away);
    }
}
