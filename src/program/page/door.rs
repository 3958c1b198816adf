//! The page's door: how many may come in, and how long each may take.
//!
//! Purpose: whoever can reach the address can open connections, in the same process as the scheduler. They may not use
//! up the files that it needs for its own sessions, nor keep others out.
//!
//! State: the guests, oldest first. A connection carries one request: its head has to come within [`HEAD`], and all of
//! it is over after [`WHOLE`]. There are as many as the process may open files, less a reserve; when there is one more,
//! the oldest that has not asked for anything goes, and when all have asked, the new one gets a 503 at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tower_service::Service;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may take from its first byte to its last.
const WHOLE: Duration = Duration::from_secs(60);
/// Connections, where the process may open files enough.
const MOST: usize = 512;
/// And where it may not.
const LEAST: usize = 4;
/// Files that the process keeps for itself: sessions with the server, receivers of alerts, its own.
const RESERVE: usize = 64;
/// After the system has refused a connection.
const BREATH: Duration = Duration::from_millis(100);
/// What is said when there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
                      Content-Length: 33\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
                      The page has no room just now...\n";

/// One connection.
#[derive(Debug, Default)]
struct Guest {
    has_asked: AtomicBool,
    /// The order to go.
    go: Notify,
}

/// Who is in.
#[derive(Debug)]
struct House {
    most: usize,
    guests: Mutex<VecDeque<Arc<Guest>>>,
}

impl House {
    /// Lets one more in, if need be in place of one that has not asked for anything.
    fn enter(&self) -> Option<Arc<Guest>> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.len() >= self.most {
            let idle = guests
                .iter()
                .position(|guest| !guest.has_asked.load(Ordering::Relaxed))?;
            guests.remove(idle)?.go.notify_one();
        }
        let guest = Arc::new(Guest::default());
        guests.push_back(guest.clone());
        Some(guest)
    }

    fn leave(&self, guest: &Arc<Guest>) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|one| !Arc::ptr_eq(one, guest));
    }
}

/// Answers requests for ever.
pub async fn serve(listener: TcpListener, app: Router) {
    let most = room(files());
    let house = Arc::new(House {
        most,
        guests: Mutex::default(),
    });
    // Who was told to go has his file until he has gone.
    let seats = Arc::new(Semaphore::new(most));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // One that went away before it came in takes nothing; anything else is a lack of files or memory.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!("the page takes no connection: {error}");
                    tokio::time::sleep(BREATH).await;
                }
                continue;
            }
        };
        match house.enter() {
            Some(guest) => {
                let Ok(seat) = seats.clone().acquire_owned().await else {
                    return;
                };
                let (app, house) = (app.clone(), house.clone());
                tokio::spawn(async move {
                    attend(stream, app, house, guest).await;
                    drop(seat);
                });
            }
            // Not worth waiting for: what does not fit into the system's buffer is lost.
            None => drop(stream.try_write(FULL)),
        }
    }
}

/// Serves one connection.
async fn attend(stream: TcpStream, app: Router, house: Arc<House>, guest: Arc<Guest>) {
    let asked = guest.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        asked.has_asked.store(true, Ordering::Relaxed);
        let mut app = app.clone();
        async move {
            let answer: Result<Response, Infallible> = app.call(request.map(Body::new)).await;
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        // One request each: a page has no parts to be fetched, and an idle connection is a file less.
        .keep_alive(false)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What a visitor does wrong is his own affair.
        _ = connection => {}
        () = tokio::time::sleep(WHOLE) => {}
        () = guest.go.notified() => {}
    }
    house.leave(&guest);
}

/// How many connections there are, where so many files may be open.
fn room(files: usize) -> usize {
    files.saturating_sub(RESERVE).clamp(LEAST, MOST)
}

/// How many files the process may open.
fn files() -> usize {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_keeps_its_files() {
        for (files, connections) in [(256, 192), (1024, 512), (usize::MAX, 512), (64, 4), (0, 4)] {
            assert_eq!(room(files), connections, "{files}");
        }
    }

    #[test]
    fn who_asks_for_nothing_makes_room() {
        let house = House {
            most: 2,
            guests: Mutex::default(),
        };
        let (first, second) = (house.enter().unwrap(), house.enter().unwrap());
        first.has_asked.store(true, Ordering::Relaxed);
        let third = house.enter().unwrap();
        assert_eq!(Arc::strong_count(&second), 1, "the idle one was let go");
        third.has_asked.store(true, Ordering::Relaxed);
        assert!(house.enter().is_none(), "both have asked");
        house.leave(&first);
        assert!(house.enter().is_some());
    }

    #[test]
    fn what_is_said_at_the_door_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
