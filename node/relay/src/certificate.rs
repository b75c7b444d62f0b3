//! The certificate for TLS WebSocket: what is in its two files, which names it is for, and its renewal while the relay
//! runs.
//!
//! # Why look every few seconds
//! Whoever renews certificates (certbot, acme.sh, a mounted secret) replaces files or the links to them, one after the
//! other, and each in its own way. Reading two small files sees all of it. Between the two writes they don't match: then
//! the old certificate stays until they do. Connections that stand notice nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farhelm_overlay::websocket::{Served, TlsError, certified};
use farhelm_overlay::{Multiaddr, Protocol};
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::sign::CertifiedKey;
use tokio::sync::broadcast;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::relay::{Event, lock};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Why the certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate in the file.
    #[error("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// No private key in the file that TLS can use.
    #[error(
        "{} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----), or one that is encrypted or of a kind that TLS \
         doesn't know",
        .0.display()
    )]
    NoKey(PathBuf),
    /// They aren't of one pair.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What the files hold.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate that can be served.
#[derive(Debug)]
struct Certificate {
    key: CertifiedKey,
    /// The hosts it is for, each as the beginning of an address; no wildcards.
    hosts: Vec<Multiaddr>,
    /// Itself, without those that vouch for it.
    der: CertificateDer<'static>,
}

/// Why clients refuse what is served, or why what is in the files isn't served; in words.
pub(crate) type Trouble = Arc<Mutex<Option<String>>>;

/// Keeps a running relay's certificate as its files have it.
#[derive(Debug)]
pub(crate) struct Renewal {
    files: Files,
    seen: Contents,
    served: Served,
    /// What is served, without those that vouch for it.
    der: CertificateDer<'static>,
    /// Why the files' contents aren't served.
    refused: Option<String>,
    trouble: Trouble,
    events: broadcast::Sender<Event>,
}

impl Files {
    /// Reads both; also gives what keeps them up to date. What becomes of them is said in the other two.
    pub(crate) async fn load(
        self,
        events: broadcast::Sender<Event>,
        trouble: Trouble,
    ) -> Result<(Served, Vec<Multiaddr>, Renewal), Error> {
        let seen = self.read().await?;
        let certificate = self.parse(&seen)?;
        let (served, der) = (Served::new(certificate.key), certificate.der);
        let renewal = Renewal { files: self, seen, served: served.clone(), der, refused: None, trouble, events };
        renewal.judge();
        Ok((served, certificate.hosts, renewal))
    }

    async fn read(&self) -> Result<Contents, Error> {
        Ok(Contents { certificate: read(&self.certificate).await?, key: read(&self.key).await? })
    }

    fn parse(&self, contents: &Contents) -> Result<Certificate, Error> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.certificate).collect();
        let chain = chain.unwrap_or_default();
        let first = chain.first().ok_or_else(|| Error::NoCertificate(self.certificate.clone()))?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|_| Error::NoCertificate(self.certificate.clone()))?;
        let (hosts, der) = (hosts(&parsed), first.clone());
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| Error::NoKey(self.key.clone()))?;
        let key = certified(chain, key).map_err(|error| self.refused(&error))?;
        Ok(Certificate { key, hosts, der })
    }

    fn refused(&self, error: &TlsError) -> Error {
        match error {
            TlsError::InconsistentKeys(_) => {
                Error::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            TlsError::InvalidCertificate(_) => Error::NoCertificate(self.certificate.clone()),
            _ => Error::NoKey(self.key.clone()),
        }
    }
}

impl Renewal {
    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Gone for a moment while they are replaced; whether for good, the next start says.
            if let Ok(now) = self.files.read().await
                && now != self.seen
            {
                self.take(&now);
                self.seen = now;
            }
            self.judge();
        }
    }

    fn take(&mut self, contents: &Contents) {
        let event = match self.files.parse(contents) {
            Ok(certificate) => {
                self.served.replace(certificate.key);
                (self.der, self.refused) = (certificate.der, None);
                tracing::info!("the certificate's files have changed: new connections get the new one");
                Event::CertificateRenewed
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate's files have changed and can't be used; the old one stays");
                self.refused = Some(error.to_string());
                Event::CertificateRefused { reason: error.to_string() }
            }
        };
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Says what is wrong now; a certificate may run out meanwhile.
    fn judge(&self) {
        let refused = self.refused.as_ref().map(|reason| format!("{reason}; the certificate before it stays"));
        *lock(&self.trouble) = refused.or_else(|| flaw(&self.der));
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}

fn hosts(certificate: &X509Certificate<'_>) -> Vec<Multiaddr> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(host).collect()
}

fn host(name: &GeneralName<'_>) -> Option<Multiaddr> {
    match name {
        // A name without a dot means something at home only.
        GeneralName::DNSName(name) if name.contains('.') && !name.contains('*') => {
            Some(Protocol::Dns((*name).into()).into())
        }
        GeneralName::IPAddress(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
            (Ok(ip), _) => Some(Protocol::Ip4(ip.into()).into()),
            (_, Ok(ip)) => Some(Protocol::Ip6(ip.into()).into()),
            _ => None,
        },
        _ => None,
    }
}

/// Why clients refuse it, though TLS serves it all the same.
fn flaw(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    if !validity.is_valid() {
        return Some(format!("it is valid from {} to {} only", validity.not_before, validity.not_after));
    }
    let is_self_signed = certificate.subject() == certificate.issuer();
    is_self_signed.then(|| "it is self-signed, so only machines that were told to trust it accept it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &tempfile::TempDir) -> Files {
        Files { certificate: directory.path().join("cert.pem"), key: directory.path().join("key.pem") }
    }

    fn made(names: &[&str]) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let made = made.unwrap();
        (made.cert.pem(), made.key_pair.serialize_pem())
    }

    fn write(files: &Files, certificate: &str, key: &str) {
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
    }

    /// The hosts that the certificate is for.
    async fn load(files: &Files) -> Result<Vec<Multiaddr>, Error> {
        let (events, _) = broadcast::channel(4);
        files.clone().load(events, Trouble::default()).await.map(|(_, hosts, _)| hosts)
    }

    #[tokio::test]
    async fn its_hosts_are_its_names_without_wildcards() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        let (certificate, key) = made(&["relay.example.org", "*.example.org", "localhost", "192.0.2.7", "2001:db8::7"]);
        write(&files, &certificate, &key);
        let hosts: Vec<_> = load(&files).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["/dns/relay.example.org", "/ip4/192.0.2.7", "/ip6/2001:db8::7"]);
    }

    #[test]
    fn one_that_ran_out_says_when() {
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert!(flaw(made.der()).is_some_and(|flaw| flaw.contains("2020")), "{:?}", flaw(made.der()));
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        assert!(matches!(load(&files).await, Err(Error::Unreadable { path, .. }) if path == files.certificate));
        let ((certificate, key), (_, other)) = (made(&["a.example"]), made(&["b.example"]));
        write(&files, "nothing", &key);
        assert!(matches!(load(&files).await, Err(Error::NoCertificate(_))));
        write(&files, &certificate, "nothing");
        assert!(matches!(load(&files).await, Err(Error::NoKey(_))));
        let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        write(&files, &certificate, garbage);
        assert!(matches!(load(&files).await, Err(Error::NoKey(_))));
        write(&files, &certificate, &other);
        let error = load(&files).await.unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }) && error.to_string().contains("key.pem"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_written_pair_is_refused_and_the_whole_one_taken() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        let ((certificate, key), (next, its_key)) = (made(&["a.example"]), made(&["a.example"]));
        write(&files, &certificate, &key);
        let (events, mut said) = broadcast::channel(4);
        let trouble = Trouble::default();
        let (_, _, renewal) = files.clone().load(events, trouble.clone()).await.unwrap();
        let troubled = |word: &str| lock(&trouble).as_ref().is_some_and(|trouble| trouble.contains(word));
        assert!(troubled("self-signed"));
        tokio::spawn(renewal.run());
        write(&files, &next, &key);
        assert!(matches!(said.recv().await, Ok(Event::CertificateRefused { .. })));
        write(&files, &next, &its_key);
        tokio::time::sleep(LOOK / 2).await;
        assert!(troubled("key.pem"));
        assert_eq!(said.recv().await, Ok(Event::CertificateRenewed));
        tokio::time::sleep(LOOK / 2).await;
        assert!(troubled("self-signed"));
    }
}
