//! The order to stop.
//!
//! Purpose: whoever runs for long hears SIGTERM and SIGINT, or a test, and ends in good order.
//!
//! State: told or not; once told, it stays so. Failure: only where signals cannot be heard.

use anyhow::Result;
use tokio::sync::watch;

/// Tells the scheduler to stop. Cloned freely; stays told.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A handle that tells, and one that hears.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// One that hears SIGTERM and SIGINT.
    pub fn on_signals() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (sender, stop) = Self::new();
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok(stop)
    }

    /// Comes back when told to stop, or when nobody is left to tell.
    pub async fn told(&mut self) {
        let _ = self.0.wait_for(|told| *told).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_to_stop_stays_given() {
        let (sender, stop) = Stop::new();
        sender.send_replace(true);
        for mut hears in [stop.clone(), stop] {
            hears.told().await;
            hears.told().await;
        }
    }
}
