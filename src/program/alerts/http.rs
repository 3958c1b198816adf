//! One POST of JSON, and what came of it. No redirect is followed; at most a little of the answer is read; no error
//! says more of the address than nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// A Retry-After beyond this is not believed.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// What came of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Accepted,
    /// It may pass: try again, and not before `after`.
    Again {
        /// What happened.
        why: String,
        /// What the receiver asks for.
        after: Option<Duration>,
    },
    /// It will not pass.
    Refused {
        /// What the receiver said.
        why: String,
    },
}

/// A way to post.
pub struct Post {
    tls: TlsConnector,
    patience: Duration,
}

impl Post {
    /// Trusts the machine's root certificates.
    pub fn new() -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            patience: PATIENCE,
        })
    }

    /// With less patience: for tests.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Posts JSON.
    pub async fn send(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        now: DateTime<Utc>,
    ) -> Answer {
        let again = |why: &str| Answer::Again {
            why: why.to_owned(),
            after: None,
        };
        match tokio::time::timeout(self.patience, self.try_send(url, headers, body, now)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => again(why),
            Err(_) => again("the receiver did not answer in time"),
        }
    }

    async fn try_send(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        now: DateTime<Utc>,
    ) -> Result<Answer, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "the address is none")?;
        let host = uri.host().ok_or("the address has no host")?.to_owned();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the address begins with neither https:// nor http://"),
        };
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let authority = uri
            .port()
            .map_or(host.clone(), |port| format!("{host}:{port}"));
        let mut request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(
                USER_AGENT,
                concat!("agent-metrics/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| "the message cannot be written")?;

        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let stream = TcpStream::connect((bare.as_str(), port))
            .await
            .map_err(|_| "no connection to the receiver")?;
        if is_tls {
            let name = ServerName::try_from(bare).map_err(|_| "the address has no host")?;
            let stream = self
                .tls
                .connect(name, stream)
                .await
                .map_err(|_| "no TLS connection to the receiver")?;
            exchange(stream, request, now).await
        } else {
            exchange(stream, request, now).await
        }
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    now: DateTime<Utc>,
) -> Result<Answer, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = "the receiver broke the connection off";
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| broken)?;
    let driver = tokio::spawn(connection);
    let answered = async {
        let response = sender.send_request(request).await.map_err(|_| broken)?;
        let (head, body) = response.into_parts();
        // An answer that breaks off has not been given.
        Limited::new(body, ANSWER_BYTES)
            .collect()
            .await
            .map_err(|_| broken)?;
        let after = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, now));
        Ok(judge(head.status, after))
    }
    .await;
    driver.abort();
    answered
}

fn judge(status: StatusCode, after: Option<Duration>) -> Answer {
    let why = format!("the receiver answered {}", status.as_u16());
    match status {
        _ if status.is_success() => Answer::Accepted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Answer::Again { why, after }
        }
        _ if status.is_server_error() => Answer::Again { why, after },
        _ => Answer::Refused { why },
    }
}

/// Retry-After: seconds, or a date.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST_RETRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        let of = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(of("120"), Some(120));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(of("99999999999"), Some(86_400));
        assert_eq!(of("soon"), None);
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_not_repeated() {
        let post = Post::new().unwrap();
        for url in [
            "secret",
            "ftp://host/secret",
            "https:///secret",
            "http://host:port/secret",
            "",
        ] {
            let answer = post.send(url, &[], String::new(), Utc::now()).await;
            assert!(
                matches!(&answer, Answer::Again { why, .. } if !why.contains("secret")),
                "{url}: {answer:?}"
            );
        }
    }
}
