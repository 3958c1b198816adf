//! Which server to talk to: flags first, then `DATABASE_URL`, then the `PG*` variables that libpq knows.
//!
//! The driver reads URLs and key=value strings but knows only half of libpq's `sslmode`, so `sslmode` and
//! `sslrootcert` are taken out of the string here and kept beside the rest. A password is never printed: neither
//! [`Server`] nor its errors show it.

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
    /// Root certificates to trust; none: the machine's.
    pub root_certificate: Option<PathBuf>,
}

impl Server {
    /// Reads a URL or key=value string and fills what it leaves open from variables, by way of `variable`.
    pub fn read(url: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (rest, mut sslmode, mut root_certificate) = match url {
            Some(url) => take_tls(url),
            None => (String::new(), None, None),
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
        sslmode = sslmode.or_else(|| variable("PGSSLMODE"));
        root_certificate = root_certificate.or_else(|| variable("PGSSLROOTCERT"));

        let tls = match sslmode.as_deref() {
            None | Some("prefer" | "allow") => Tls::Prefer,
            Some("disable") => Tls::Disable,
            Some("require") if root_certificate.is_some() => Tls::VerifyCa,
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
        let root_certificate = root_certificate
            .filter(|path| path != "system")
            .map(PathBuf::from);
        Ok(Self {
            postgres,
            tls,
            root_certificate,
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

/// Takes `sslmode` and `sslrootcert` out of a URL or a key=value string.
fn take_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (head, pairs, separator) = match url.split_once('?') {
        Some((head, pairs)) if is_url => (Some(head), pairs, '&'),
        _ if is_url => return (url.to_owned(), None, None),
        _ => (None, url, ' '),
    };
    let (mut mode, mut root, mut kept) = (None, None, Vec::new());
    for pair in pairs.split(separator) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(plain(value, is_url)),
            Some(("sslrootcert", value)) => root = Some(plain(value, is_url)),
            _ => kept.push(pair),
        }
    }
    let kept = kept.join(&separator.to_string());
    let rest = match head {
        Some(head) if kept.is_empty() => head.to_owned(),
        Some(head) => format!("{head}?{kept}"),
        None => kept,
    };
    (rest, mode, root)
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
        assert_eq!(
            server.root_certificate,
            Some(PathBuf::from("/etc/my ca.pem"))
        );
        let server = read(Some("host=h sslmode=verify-full sslrootcert=system"), &[]).unwrap();
        assert_eq!(
            (server.tls, server.root_certificate),
            (Tls::VerifyFull, None)
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
