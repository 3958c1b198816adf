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
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Server, Tls};

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
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?;
    Ok(match server.tls {
        Tls::Disable | Tls::Prefer | Tls::Require => {
            let verifier = Lenient {
                provider,
                chain: None,
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth()
        }
        Tls::VerifyCa => {
            let roots = Arc::new(roots(server)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .context("the root certificates cannot be used")?;
            let verifier = Lenient {
                provider,
                chain: Some(chain),
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth()
        }
        Tls::VerifyFull => builder
            .with_root_certificates(roots(server)?)
            .with_no_client_auth(),
    })
}

fn roots(server: &Server) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &server.root_certificate {
        Some(path) => {
            let unreadable = || {
                format!(
                    "the root certificate {} (sslrootcert) cannot be read",
                    path.display()
                )
            };
            for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                roots
                    .add(certificate.with_context(unreadable)?)
                    .with_context(unreadable)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "there is no root certificate to check the server's with; name one with sslrootcert"
    );
    Ok(roots)
}

/// Checks less than `verify-full`: the chain without the host's name, or nothing at all.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
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
