//! What differs between the servers that the suite runs on: by their major version, and by how one was built. The
//! product has no such difference of its own; what a test may expect is said here and nowhere else.

use super::cluster::{configured, pg_config};
use super::{Session, server};

/// Major version of the server.
pub fn major() -> u32 {
    Session::open(server()).number("SELECT current_setting('server_version_num')::integer / 10000")
        as u32
}

/// SQLSTATE of a name in a schema that is not there.
pub fn no_schema() -> &'static str {
    if major() < 16 { "3F000" } else { "42P01" }
}

/// Whether the server was built with TLS; if not, says that the test skips.
pub fn has_tls() -> bool {
    let has = ["--with-ssl", "--with-openssl"]
        .iter()
        .any(|with| configured(&pg_config(), "--configure").contains(with));
    if !has {
        println!("skipped: this PostgreSQL was built without TLS");
    }
    has
}

/// Whether the server has its own extension for foreign tables; if not, says that the test skips.
pub fn has_foreign_tables() -> bool {
    let has = !Session::open(server())
        .lines("SELECT name FROM pg_available_extensions WHERE name = 'postgres_fdw'")
        .is_empty();
    if !has {
        println!("skipped: this PostgreSQL comes without postgres_fdw");
    }
    has
}

/// Whether a new cluster of a server has data checksums unless told otherwise.
pub fn has_checksums() -> bool {
    major() >= 18
}

/// Zones with a name that is an abbreviation too, such as CET, as far as the server has them: Debian 13 keeps them in
/// a package of their own.
pub fn old_zones(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT name FROM pg_timezone_names
         WHERE name IN ('CET', 'EET', 'MET', 'WET', 'EST', 'HST', 'MST') ORDER BY 1",
    )
}
