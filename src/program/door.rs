//! A door to the network: how many may come in, and how long each may take.
//!
//! Purpose: whoever can reach the address can open connections, in the same process as the scheduler. They may not use
//! up the files that it needs for its own sessions, nor keep others out.
//!
//! State: the guests, oldest first. The head of a request has to come within [`Rules::head`], and all of a connection
//! is over after [`Rules::whole`]. There are as many as the process may open files, less a reserve; when there is one
//! more, the oldest that is not asking for anything goes, and when all are asking, the new one gets a 503 at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tower_service::Service;

use crate::program::shutdown::Stop;

/// Connections, where the process may hardly open any file.
const LEAST: usize = 4;
/// Files that the process keeps for itself: sessions with the server, receivers of alerts, its own.
const RESERVE: usize = 64;
/// After the system has refused a connection.
const BREATH: Duration = Duration::from_millis(100);
/// What is said when there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
                      Content-Length: 30\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
                      There is no room just now ...\n";
/// What is said to who begins to ask and does not go on.
const SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// How long what is still being sent after an answer is read and thrown away: else the answer would be lost with it.
const LINGER: Duration = Duration::from_secs(5);
/// How long those who are asking may take to end, once the door is closed.
const FAREWELL: Duration = Duration::from_secs(15);

/// What a door allows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What it is the door of, for the log.
    pub name: &'static str,
    /// How long the head of a request may take, and how long a connection may say nothing between two.
    pub head: Duration,
    /// How long a connection may take from its first byte to its last.
    pub whole: Duration,
    /// Whether a connection may carry several requests.
    pub keep_alive: bool,
    /// Most connections.
    pub most: usize,
}

/// One connection.
#[derive(Debug, Default)]
struct Guest {
    is_asking: AtomicBool,
    /// It was answered before all that it had to say was read.
    was_cut_short: AtomicBool,
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
    /// Lets one more in, if need be in place of one that is not asking for anything.
    fn enter(&self) -> Option<Arc<Guest>> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.len() >= self.most {
            let idle = guests
                .iter()
                .position(|guest| !guest.is_asking.load(Ordering::Relaxed))?;
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

/// Answers requests until told to stop, and then those that were begun.
pub async fn serve(listener: TcpListener, app: Router, rules: Rules, mut stop: Stop) {
    let most = room(files(), rules.most);
    let house = Arc::new(House {
        most,
        guests: Mutex::default(),
    });
    // Who was told to go has his file until he has gone.
    let seats = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.told() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // One that went away before it came in takes nothing; anything else is a lack of files or memory.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!("{} takes no connection: {error}", rules.name);
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
                let (app, house, stop) = (app.clone(), house.clone(), stop.clone());
                tokio::spawn(async move {
                    attend(stream, app, rules, &guest, stop).await;
                    house.leave(&guest);
                    drop(seat);
                });
            }
            // Not worth waiting for: what does not fit into the system's buffer is lost.
            None => drop(stream.try_write(FULL)),
        }
    }
    drop(listener);
    let everybody = seats.acquire_many(u32::try_from(most).unwrap_or(u32::MAX));
    let _ = tokio::time::timeout(FAREWELL, everybody).await;
}

/// Serves one connection.
async fn attend(stream: TcpStream, app: Router, rules: Rules, guest: &Arc<Guest>, mut stop: Stop) {
    let asker = guest.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        asker.is_asking.store(true, Ordering::Relaxed);
        let (mut app, asker) = (app.clone(), asker.clone());
        // A box, so that the connection can be taken apart when it ends.
        Box::pin(async move {
            let answer: Result<Response, Infallible> = app.call(request.map(Body::new)).await;
            asker.is_asking.store(!rules.keep_alive, Ordering::Relaxed);
            if let Ok(answer) = &answer {
                let closes = answer.headers().contains_key(CONNECTION);
                asker.was_cut_short.store(closes, Ordering::Relaxed);
            }
            answer
        })
    });
    // Small answers are not to wait for more.
    let _ = stream.set_nodelay(true);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.head)
        .keep_alive(rules.keep_alive)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let end = tokio::time::sleep(rules.whole);
    tokio::pin!(end);
    let mut is_told = false;
    loop {
        tokio::select! {
            // What a visitor does wrong is his own affair.
            ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => {
                let parts = connection.into_parts();
                let stream = parts.io.into_inner();
                match ended {
                    // Who has said nothing yet is not waiting for an answer.
                    Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
                        let _ = stream.try_write(SLOW);
                    }
                    _ if guest.was_cut_short.load(Ordering::Relaxed) => linger(stream).await,
                    _ => {}
                }
                return;
            }
            () = &mut end => return,
            () = guest.go.notified() => return,
            () = stop.told(), if !is_told => {
                is_told = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
}

/// Reads what is still being sent, so that the answer arrives.
async fn linger(mut stream: TcpStream) {
    let rest = async {
        let mut nothing = tokio::io::sink();
        if stream.shutdown().await.is_ok() {
            let _ = tokio::io::copy(&mut stream, &mut nothing).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// How many connections there are, where so many files may be open.
fn room(files: usize, most: usize) -> usize {
    files.saturating_sub(RESERVE).clamp(LEAST, most)
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
            assert_eq!(room(files, 512), connections, "{files}");
        }
    }

    #[test]
    fn who_asks_for_nothing_makes_room() {
        let house = House {
            most: 2,
            guests: Mutex::default(),
        };
        let (first, second) = (house.enter().unwrap(), house.enter().unwrap());
        first.is_asking.store(true, Ordering::Relaxed);
        let third = house.enter().unwrap();
        assert_eq!(Arc::strong_count(&second), 1, "the idle one was let go");
        third.is_asking.store(true, Ordering::Relaxed);
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
