//! Which server to talk to: flags first, then `DATABASE_URL`, then the `PG*` variables that libpq knows.
//!
//! The driver reads URLs and key=value strings but knows only half of libpq's `sslmode`, so `sslmode` and
//! `sslrootcert` are taken out of the string here and kept beside the rest. They mean what they mean to libpq: where no
//! file is given it is `~/.postgresql/root.crt`, the machine's roots count only when asked for, and a root certificate
//! that is there makes `require` check the chain. A password is never printed: neither [`Server`] nor
//! its errors show it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::config::{Host, SslMode};

/// How long a connection may take before it counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Debian's servers have their socket: libpq's default host there.
const DEFAULT_SOCKET: &str = "/var/run/postgresql";

/// What TLS has to prove, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    Disable,
    /// TLS when the server has it; nothing is checked.
    Prefer,
    /// TLS or nothing; the certificate is checked only when a root certificate is given.
    Require,
    /// TLS, and the certificate comes from a known root.
    VerifyCa,
    /// TLS, the certificate comes from a known root and is the host's.
    VerifyFull,
}

/// A server, and how to reach it.
#[derive(Clone)]
pub struct Server {
    /// What the driver needs.
    pub postgres: tokio_postgres::Config,
    /// What TLS has to prove.
    pub tls: Tls,
    /// Root certificates to trust.
    pub roots: Roots,
    /// Certificates that were revoked.
    pub revoked: Option<PathBuf>,
}

/// Where root certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Nowhere.
    None,
    /// In a file.
    File(PathBuf),
    /// Those of the machine.
    System,
}

impl Server {
    /// Reads a URL or key=value string and fills what it leaves open from variables, by way of `variable`.
    pub fn read(url: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (rest, given) = match url {
            Some(url) => take_tls(url),
            None => (String::new(), TlsWords::default()),
        };
        let mut postgres: tokio_postgres::Config = rest.parse().context(
            "the database URL cannot be read; it looks like postgresql://user@host:5432/database",
        )?;

        if postgres.get_hosts().is_empty() {
            match variable("PGHOST") {
                Some(hosts) => hosts.split(',').for_each(|host| {
                    postgres.host(host);
                }),
                None if std::path::Path::new(DEFAULT_SOCKET).is_dir() => {
                    postgres.host(DEFAULT_SOCKET);
                }
                None => {
                    postgres.host("localhost");
                }
            }
        }
        if postgres.get_ports().is_empty()
            && let Some(ports) = variable("PGPORT")
        {
            for port in ports.split(',') {
                postgres.port(
                    port.parse().with_context(|| {
                        format!("PGPORT is \"{port}\", which is no port number")
                    })?,
                );
            }
        }
        if postgres.get_user().is_none()
            && let Some(user) = variable("PGUSER")
        {
            postgres.user(user);
        }
        if postgres.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD")
        {
            postgres.password(password);
        }
        if postgres.get_dbname().is_none()
            && let Some(database) = variable("PGDATABASE")
        {
            postgres.dbname(database);
        }
        if postgres.get_options().is_none()
            && let Some(options) = variable("PGOPTIONS")
        {
            postgres.options(options);
        }
        if postgres.get_application_name().is_none() {
            postgres.application_name(
                variable("PGAPPNAME").unwrap_or_else(|| "agent-metrics".to_owned()),
            );
        }
        if postgres.get_connect_timeout().is_none() {
            let given = variable("PGCONNECT_TIMEOUT")
                .and_then(|seconds| seconds.parse().ok())
                .filter(|s| *s > 0);
            postgres.connect_timeout(given.map_or(CONNECT_TIMEOUT, Duration::from_secs));
        }
        let in_home = |name: &str| {
            variable("HOME").map(|home| PathBuf::from(home).join(".postgresql").join(name))
        };
        let sslmode = given.mode.or_else(|| variable("PGSSLMODE"));
        let root = given.root.or_else(|| variable("PGSSLROOTCERT"));
        let revoked = given
            .revoked
            .or_else(|| variable("PGSSLCRL"))
            .map(PathBuf::from)
            .or_else(|| in_home("root.crl").filter(|path| path.exists()));
        let roots = match root.as_deref() {
            Some("system") => {
                if let Some(mode) = sslmode.as_deref().filter(|mode| *mode != "verify-full") {
                    bail!(
                        "sslmode \"{mode}\" is too weak for sslrootcert=system, since anybody gets \
                         a certificate from one of the machine's roots; use verify-full"
                    );
                }
                Roots::System
            }
            Some(path) => Roots::File(PathBuf::from(path)),
            None => in_home("root.crt").map_or(Roots::None, Roots::File),
        };
        let has_roots = match &roots {
            Roots::None => false,
            // One that is named and not there is an error, rather than no check at all.
            Roots::File(path) => root.is_some() || path.exists(),
            Roots::System => true,
        };
        let tls = match sslmode.as_deref() {
            None if roots == Roots::System => Tls::VerifyFull,
            None | Some("prefer" | "allow") => Tls::Prefer,
            Some("disable") => Tls::Disable,
            Some("require") if has_roots => Tls::VerifyCa,
            Some("require") => Tls::Require,
            Some("verify-ca") => Tls::VerifyCa,
            Some("verify-full") => Tls::VerifyFull,
            Some(other) => {
                bail!(
                    "sslmode is \"{other}\"; it is one of disable, prefer, require, verify-ca and verify-full"
                )
            }
        };
        postgres.ssl_mode(match tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        });
        Ok(Self {
            postgres,
            tls,
            roots,
            revoked,
        })
    }

    /// Where the server is: `host:port`, or several.
    pub fn place(&self) -> String {
        let ports = self.postgres.get_ports();
        let port = |i: usize| {
            ports
                .get(i)
                .or_else(|| ports.first())
                .copied()
                .unwrap_or(5432)
        };
        let place = |(i, host): (usize, &Host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(i)),
            Host::Unix(path) => format!("{}/.s.PGSQL.{}", path.display(), port(i)),
        };
        self.postgres
            .get_hosts()
            .iter()
            .enumerate()
            .map(place)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Name of the user that connects.
    pub fn user(&self) -> &str {
        self.postgres.get_user().unwrap_or("(the system's user)")
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        self.postgres.get_dbname().unwrap_or_else(|| self.user())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.user(), self.place(), self.database())
    }
}

/// What a URL or a key=value string says of TLS.
#[derive(Debug, Default)]
struct TlsWords {
    mode: Option<String>,
    root: Option<String>,
    revoked: Option<String>,
}

/// Takes `sslmode`, `sslrootcert` and `sslcrl` out of a URL or a key=value string. An empty value says nothing.
fn take_tls(url: &str) -> (String, TlsWords) {
    let mut words = TlsWords::default();
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (head, pairs, separator) = match url.split_once('?') {
        Some((head, pairs)) if is_url => (Some(head), pairs, '&'),
        _ if is_url => return (url.to_owned(), words),
        _ => (None, url, ' '),
    };
    let mut kept = Vec::new();
    for pair in pairs.split(separator) {
        let value = |value: &str| Some(plain(value, is_url)).filter(|value| !value.is_empty());
        match pair.split_once('=') {
            Some(("sslmode", mode)) => words.mode = value(mode),
            Some(("sslrootcert", root)) => words.root = value(root),
            Some(("sslcrl", revoked)) => words.revoked = value(revoked),
            _ => kept.push(pair),
        }
    }
    let kept = kept.join(&separator.to_string());
    let rest = match head {
        Some(head) if kept.is_empty() => head.to_owned(),
        Some(head) => format!("{head}?{kept}"),
        None => kept,
    };
    (rest, words)
}

/// A value without its percent signs (in a URL) or its quotes (in a key=value string).
fn plain(value: &str, is_url: bool) -> String {
    if !is_url {
        return value.trim_matches('\'').to_owned();
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match hex {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: Option<&str>, variables: &[(&str, &str)]) -> Result<Server> {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Server::read(url, move |name| {
            variables
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn a_url_wins_over_variables_which_fill_the_rest() {
        let server = read(
            Some("postgresql://ann@db.example:6000"),
            &[
                ("PGHOST", "elsewhere"),
                ("PGUSER", "bob"),
                ("PGPASSWORD", "pa55"),
                ("PGDATABASE", "books"),
            ],
        )
        .unwrap();
        assert_eq!(format!("{server:?}"), "ann@db.example:6000/books");
        assert_eq!(server.postgres.get_password(), Some(b"pa55".as_slice()));
        assert_eq!(server.tls, Tls::Prefer);
        assert_eq!(
            server.postgres.get_application_name(),
            Some("agent-metrics")
        );
    }

    #[test]
    fn variables_alone_suffice() {
        let server = read(
            None,
            &[
                ("PGHOST", "h"),
                ("PGPORT", "5433"),
                ("PGUSER", "u"),
                ("PGSSLMODE", "require"),
            ],
        )
        .unwrap();
        assert_eq!(format!("{server:?}"), "u@h:5433/u");
        assert_eq!(server.tls, Tls::Require);
    }

    #[test]
    fn every_sslmode_is_understood_in_urls_and_in_pairs() {
        for (mode, tls) in [
            ("disable", Tls::Disable),
            ("allow", Tls::Prefer),
            ("prefer", Tls::Prefer),
            ("require", Tls::Require),
            ("verify-ca", Tls::VerifyCa),
            ("verify-full", Tls::VerifyFull),
        ] {
            let url =
                format!("postgresql://u@h/d?connect_timeout=3&sslmode={mode}&application_name=x");
            let server = read(Some(&url), &[]).unwrap();
            assert_eq!(
                (server.tls, server.postgres.get_application_name()),
                (tls, Some("x"))
            );
            assert_eq!(
                server.postgres.get_connect_timeout(),
                Some(&Duration::from_secs(3))
            );
            assert_eq!(
                read(Some(&format!("host=h user=u sslmode={mode}")), &[])
                    .unwrap()
                    .tls,
                tls
            );
        }
        let error = read(Some("postgresql://u:hidden@h/d?sslmode=maybe"), &[]).unwrap_err();
        assert!(
            error.to_string().contains("\"maybe\"") && !format!("{error:#}").contains("hidden")
        );
    }

    #[test]
    fn a_root_certificate_makes_require_verify() {
        let server = read(
            Some("postgresql://h/d?sslmode=require&sslrootcert=/etc/my%20ca.pem"),
            &[],
        )
        .unwrap();
        assert_eq!(server.tls, Tls::VerifyCa);
        assert_eq!(server.roots, Roots::File(PathBuf::from("/etc/my ca.pem")));
        let home = std::env::temp_dir().join(format!("agent_metrics_home_{}", std::process::id()));
        let variables = [("HOME", home.to_str().unwrap())];
        let url = |mode: &str| format!("host=h sslmode={mode}");
        let tls = |mode: &str| read(Some(&url(mode)), &variables).unwrap().tls;
        assert_eq!(tls("require"), Tls::Require);
        std::fs::create_dir_all(home.join(".postgresql")).unwrap();
        std::fs::write(home.join(".postgresql/root.crt"), "").unwrap();
        assert_eq!(tls("require"), Tls::VerifyCa);
        assert_eq!(tls("prefer"), Tls::Prefer);
        let server = read(Some(&url("verify-ca")), &variables).unwrap();
        assert_eq!(server.roots, Roots::File(home.join(".postgresql/root.crt")));
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn the_machines_roots_are_for_verify_full_alone() {
        for (url, tls) in [
            (
                "host=h sslmode=verify-full sslrootcert=system",
                Some(Tls::VerifyFull),
            ),
            ("host=h sslrootcert=system", Some(Tls::VerifyFull)),
            ("host=h sslmode=verify-ca sslrootcert=system", None),
            ("host=h sslmode=require sslrootcert=system", None),
            ("host=h sslmode=prefer sslrootcert=system", None),
        ] {
            match (read(Some(url), &[]), tls) {
                (Ok(server), Some(tls)) => {
                    assert_eq!((server.tls, server.roots), (tls, Roots::System), "{url}");
                }
                (Err(error), None) => assert!(error.to_string().contains("verify-full"), "{error}"),
                (outcome, _) => panic!("{url}: {outcome:?}"),
            }
        }
        // nothing given and nothing at home: no root at all, rather than the machine's
        assert_eq!(
            read(Some("host=h sslmode=verify-ca"), &[]).unwrap().roots,
            Roots::None
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let server = read(Some("postgresql://u:hidden@h/d"), &[]).unwrap();
        assert!(!format!("{server:?}").contains("hidden"));
        for broken in [
            "postgresql://u:hidden@h:port/d",
            "postgresql://u:hidden@h/d?nonsense=1",
            "hidden",
        ] {
            let error = read(Some(broken), &[]).unwrap_err();
            assert!(
                !format!("{error:#}{error:?}").contains("hidden"),
                "{error:#}"
            );
        }
    }
}
