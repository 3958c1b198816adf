//! A session with the server: TLS, opening, cancelling, closing.
//!
//! Invariant: a [`Database`] that is closed leaves no backend behind. One that is dropped without ceremony, or whose
//! process is killed, leaves one for at most a few seconds, since the server is asked to look after its client.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::program::connect::{
    certificate,
    config::{Roots, Server, Tls},
};

/// How long a server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What every session of the program begins with. No name is looked up where others may write; no query is worth
/// compiling, since all of them are short; the server ends a query whose client has gone (where its system can tell).
const PREAMBLE: &str = "
    SELECT set_config('search_path', 'pg_catalog, pg_temp', false);
    SELECT set_config('jit', 'off', false);
    SELECT set_config('client_connection_check_interval', '5s', false)
    WHERE current_setting('server_version_num')::integer >= 140000";

/// A session. It derefs to the driver's client.
pub struct Database {
    client: Client,
    driver: JoinHandle<Result<(), tokio_postgres::Error>>,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Opens a session.
    pub async fn open(server: &Server) -> Result<Self> {
        let tls = MakeRustlsConnect::new(tls_config(server)?);
        let (client, connection) = server.postgres.connect(tls.clone()).await?;
        let driver = tokio::spawn(connection);
        client.batch_execute(PREAMBLE).await?;
        Ok(Self {
            client,
            driver,
            tls,
        })
    }

    /// Asks the server to give up what this session is doing.
    pub async fn cancel(&self) {
        // When that fails the session is gone or idle: nothing is left to cancel.
        let _ = tokio::time::timeout(
            FAREWELL,
            self.client.cancel_token().cancel_query(self.tls.clone()),
        )
        .await;
    }

    /// Ends the session and waits until the server has seen it.
    pub async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(FAREWELL, self.driver).await;
    }
}

impl Deref for Database {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

fn tls_config(server: &Server) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let trust = match server.tls {
        Tls::Disable | Tls::Prefer | Tls::Require => None,
        Tls::VerifyCa | Tls::VerifyFull => Some(Trust::read(server, &provider)?),
    };
    let verifier = Verifier {
        provider: provider.clone(),
        trust,
        checks_name: server.tls == Tls::VerifyFull,
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// What a server's certificate has to come from.
#[derive(Debug)]
struct Trust {
    chain: Arc<WebPkiServerVerifier>,
    /// Certificates of the given file that sign themselves. A server may show one of these as its own, as PostgreSQL's
    /// manual has it made.
    own: Vec<CertificateDer<'static>>,
    /// The others of the file, which help to find the way to one of those, and are none themselves.
    between: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn read(server: &Server, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let (mut own, mut between) = (Vec::new(), Vec::new());
        match &server.roots {
            Roots::File(path) => {
                let unreadable = || {
                    format!(
                        "the root certificate {} (sslrootcert) cannot be read; \
                         give the file, say sslrootcert=system (with sslmode=verify-full) for the \
                         machine's roots, or change sslmode",
                        path.display()
                    )
                };
                for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                    let certificate = certificate.with_context(unreadable)?;
                    if certificate::signs_itself(&certificate) {
                        roots.add(certificate.clone()).with_context(unreadable)?;
                        own.push(certificate);
                    } else {
                        between.push(certificate);
                    }
                }
            }
            Roots::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Roots::None => {}
        }
        anyhow::ensure!(
            !roots.is_empty(),
            "there is no root certificate to check the server's with; name one with sslrootcert, \
             or say sslrootcert=system (with sslmode=verify-full) for the machine's"
        );
        let mut builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        if let Some(path) = &server.revoked {
            let unreadable = || {
                format!(
                    "the list of revoked certificates {} (sslcrl) cannot be read",
                    path.display()
                )
            };
            let lists = CertificateRevocationListDer::pem_file_iter(path)
                .with_context(unreadable)?
                .collect::<Result<Vec<_>, _>>()
                .with_context(unreadable)?;
            builder = builder.with_crls(lists);
        }
        Ok(Self {
            chain: builder
                .build()
                .context("the root certificates cannot be used")?,
            own,
            between,
        })
    }
}

/// Checks what `sslmode` says: the chain and the host's name, the chain alone, or nothing at all.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    checks_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if trust.own.iter().any(|own| own == end_entity) {
            // It is the given root: whoever has its key is the server. That it may sign others is nothing against it.
            certificate::is_in_time(end_entity, now)?;
            if self.checks_name {
                certificate::is_of(end_entity, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let between: Vec<CertificateDer<'_>> = intermediates
            .iter()
            .chain(&trust.between)
            .cloned()
            .collect();
        let chain = &trust.chain;
        match chain.verify_server_cert(end_entity, &between, server_name, ocsp_response, now) {
            // The name comes last: the chain is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                if self.checks_name {
                    certificate::is_of(end_entity, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
