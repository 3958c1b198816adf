//! How long each test takes: `target/test-times.txt`, a line a test, written as it ends. `make test`
//! prints the longest.
//!
//! The released test runner does not say it. Each test has a thread with its name, so a value of that thread, made when
//! the test first asks for something of the server, counts until the thread ends. Pure tests ask for nothing and are
//! not listed; nor is any where the runner has no threads (RUST_TEST_THREADS=1).

use std::fs::{File, create_dir_all, remove_file};
use std::io::Write;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use super::golden::path;

struct Clock {
    test: Option<String>,
    begun: Instant,
}

thread_local! {
    static CLOCK: Clock = Clock {
        // threads that a test starts have no name, or none of a test
        test: std::thread::current().name().filter(|name| name.contains("::")).map(str::to_owned),
        begun: Instant::now(),
    };
}

/// Starts the clock of this thread's test, unless it runs.
pub fn begin() {
    CLOCK.with(|_| ());
}

impl Drop for Clock {
    fn drop(&mut self) {
        static TIMES: OnceLock<Option<Mutex<File>>> = OnceLock::new();
        let Some(test) = &self.test else { return };
        let times = TIMES.get_or_init(|| {
            let file = path("target/test-times.txt");
            create_dir_all(file.parent()?).ok()?;
            // not truncated: another run that is not done yet may still write to the old one
            let _ = remove_file(&file);
            File::create(file).ok().map(Mutex::new)
        });
        // A test is no worse for a time that could not be written.
        if let Some(Ok(mut file)) = times.as_ref().map(Mutex::lock) {
            let seconds = self.begun.elapsed().as_secs_f64();
            let _ = writeln!(file, "{seconds:7.1} {test}");
        }
    }
}
