//! What libpq reads of a certificate and rustls leaves out: whether it signs itself, its time, and, where it names no
//! host otherwise, the common name.

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// Whether its issuer is itself, so that it can be the beginning of trust.
pub fn signs_itself(certificate: &CertificateDer<'_>) -> bool {
    read(certificate).is_ok_and(|read| read.tbs_certificate.issuer == read.tbs_certificate.subject)
}

/// Fails when it is not valid yet, or no longer.
pub fn is_in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = read(certificate)?.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

/// Fails unless it is the host's: by one of its alternative names, or, when it has none, by its common name.
pub fn is_of(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    let by_names = verify_server_name(&ParsedCertificate::try_from(certificate)?, host);
    if by_names.is_ok() {
        return by_names;
    }
    let read = read(certificate)?.tbs_certificate;
    let has_names = read
        .extensions
        .iter()
        .flatten()
        .any(|extension| extension.extn_id == ALTERNATIVE_NAMES);
    let common_name = read
        .subject
        .0
        .iter()
        .flat_map(|names| names.0.iter())
        .find(|name| name.oid == COMMON_NAME)
        .and_then(|name| std::str::from_utf8(name.value.value()).ok());
    match common_name {
        Some(name) if !has_names && matches(name, &host.to_str()) => Ok(()),
        _ => by_names,
    }
}

/// A name without regard to case; `*.` at its beginning stands for one label.
fn matches(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return !name.is_empty();
    }
    let (Some(domain), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && !domain.is_empty() && domain.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_common_name_matches_as_in_libpq() {
        for (name, host) in [
            ("db.example", "DB.example"),
            ("*.example", "db.example"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert!(matches(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("db.example", "db.example.evil"),
            ("*.example", "a.b.example"),
            ("*.example", "example"),
            ("*.", "x."),
            ("", ""),
        ] {
            assert!(!matches(name, host), "{name} {host}");
        }
    }
}
