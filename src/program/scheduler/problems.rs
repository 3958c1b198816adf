//! What did not work: said in the log when it begins and when it changes, and kept in
//! `agent_metrics_internal.job_problems`, where `status` and `doctor` find it, until the job works again.
//!
//! State: what is known of each job, so that a job that goes on working costs no statement.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::program::connect::timeouts::{Limits, limited};
use crate::program::{error, text};

/// What writing it down may wait for.
const LIMITS: Limits = Limits::new(Duration::from_secs(1), Duration::from_secs(10));

type Job = (String, String);

/// Problems of jobs.
#[derive(Debug, Default)]
pub struct Problems {
    known: HashMap<Job, Option<String>>,
    news: HashMap<Job, Option<String>>,
}

impl Problems {
    /// Takes the outcome of a job (and of an agent, else ""), and hands on what it gave; only a lost
    /// session is an error.
    pub fn take<T>(&mut self, job: &str, subject: &str, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => {
                self.note(job, subject, None);
                Ok(Some(value))
            }
            Err(error) if error::is_lost(&error) => Err(error),
            Err(error) => {
                self.note(job, subject, Some(error::of(&error)));
                Ok(None)
            }
        }
    }

    /// Notes that a job works (None), or what is wrong.
    pub fn note(&mut self, job: &str, subject: &str, problem: Option<String>) {
        let key = (job.to_owned(), subject.to_owned());
        let known = self.known.get(&key);
        let is_news = known != Some(&problem);
        // Those of agents are said by who refreshes them.
        if is_news && subject.is_empty() {
            match (&problem, known) {
                (Some(words), _) => warn!("{job}: trying again: {words}"),
                (None, Some(Some(_))) => info!("{job}: works again"),
                (None, _) => {}
            }
        }
        if is_news || problem.is_some() {
            self.news.insert(key.clone(), problem.clone());
        }
        self.known.insert(key, problem);
    }

    /// Writes it down. When that fails, it is written down the next time; only a lost session is an error.
    pub async fn record(&mut self, client: &Client) -> Result<()> {
        if self.news.is_empty() {
            return Ok(());
        }
        let (mut jobs, mut subjects, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for ((job, subject), problem) in &self.news {
            jobs.push(job.as_str());
            subjects.push(subject.as_str());
            problems.push(problem.as_deref().map(text::shown));
        }
        let written = limited(client, LIMITS, async || {
            client
                .execute(
                    "SELECT agent_metrics_internal.record_jobs($1, $2, $3)",
                    &[&jobs, &subjects, &problems],
                )
                .await?;
            Ok(())
        });
        match written.await {
            Ok(()) => self.news.clear(),
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) => warn!(
                "problems of jobs could not be written down: {}",
                error::of(&error)
            ),
        }
        Ok(())
    }
}
