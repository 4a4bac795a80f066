//! TLS to an engine: whom we trust, and who we are (docs.docker.com, "Protect the Docker daemon socket").
//!
//! In: a folder with `ca.pem`, `cert.pem` and `key.pem`, and whether the engine's certificate is checked at all. Out: a
//! client's settings, or what is wrong with which file. Keys are RSA, P-256, P-384 or Ed25519, in PKCS#1, SEC 1 or
//! PKCS#8.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, InconsistentKeys, SignatureScheme};

/// The certificates of an endpoint, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Where they are.
    pub(super) folder: Option<PathBuf>,
    pub(super) verify: Verify,
}

/// Whether the engine has to show a certificate that `ca.pem` vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    Yes,
    /// `DOCKER_TLS` without `DOCKER_TLS_VERIFY`, a context with `skip-tls-verify`.
    No,
}

impl TlsFiles {
    fn at(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists())
    }

    /// A client's settings.
    pub(super) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.verify {
            Verify::Yes => builder.with_root_certificates(self.roots()?),
            Verify::No => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider.clone())))
            }
        };
        with_own(builder, provider, self.at("cert.pem"), self.at("key.pem"))
    }

    fn roots(&self) -> Result<rustls::RootCertStore, String> {
        let path = self.at("ca.pem").ok_or_else(|| match &self.folder {
            Some(folder) => format!("TLS needs {}, which is not there", folder.join("ca.pem").display()),
            None => "TLS needs certificates: DOCKER_CERT_PATH names their folder".to_owned(),
        })?;
        roots_of(&path)
    }
}

/// Of files that are named one by one: whom we trust (none: whom this machine trusts), and who we are.
pub(super) fn config_of(
    ca: Option<&Path>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let ca = ca.ok_or("TLS needs the certificate of whoever signed the builder's: `cacert=FILE`")?;
    with_own(builder.with_root_certificates(roots_of(ca)?), provider, certificate, key)
}

fn roots_of(path: &Path) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| format!("bad certificate in {}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn with_own(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    provider: Arc<CryptoProvider>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<ClientConfig, String> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let unfit = |error: rustls::Error| {
                format!(
                    "{} cannot be used with {}: {error} (keys are RSA, P-256, P-384 or Ed25519)",
                    key.display(),
                    certificate.display()
                )
            };
            let signer = provider.key_provider.load_private_key(read_key(&key)?).map_err(unfit)?;
            let own = CertifiedKey::new(read_certificates(&certificate)?, signer);
            // A certificate of X.509 version 1 cannot be compared with its key, and engines take it.
            if let Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
                own.keys_match()
            {
                return Err(unfit(error));
            }
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(lonely), None) | (None, Some(lonely)) => {
            Err(format!("{} stands alone: TLS takes cert.pem and key.pem, or neither", lonely.display()))
        }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{} holds no certificate", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("cannot read certificates of {}: {error}", path.display())),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("cannot read the key {}: {error}", path.display()))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if String::from_utf8_lossy(&text).contains("ENCRYPTED") {
            return format!("the key {} has a passphrase, which nobody can be asked for", path.display());
        }
        format!("cannot read the key {}: {error}", path.display())
    })
}

/// Takes every certificate; what is signed with it is checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

    #[track_caller]
    fn check(files: &[(&str, &str)], verify: Verify, expected: &str) {
        let folder = folder_of(files);
        let files = TlsFiles { folder: Some(folder.path().to_owned()), verify };
        let told = files.config().map_or_else(|cause| cause, |_| "good".to_owned());
        assert_eq!(told.replace(&folder.path().display().to_string(), "DIR"), expected);
    }

    #[test]
    fn what_is_wrong_with_which_file() {
        check(&[], Verify::Yes, "TLS needs DIR/ca.pem, which is not there");
        check(&[], Verify::No, "good");
        check(&[("ca.pem", "text")], Verify::Yes, "DIR/ca.pem holds no certificate");
        check(
            &[("cert.pem", "text")],
            Verify::No,
            "DIR/cert.pem stands alone: TLS takes cert.pem and key.pem, or neither",
        );
        let nowhere = TlsFiles { folder: None, verify: Verify::Yes };
        let told = nowhere.config().expect_err("no certificates");
        assert_eq!(told, "TLS needs certificates: DOCKER_CERT_PATH names their folder");
    }

    /// RSA keys take long to make, and the maker of these tests makes none.
    const RSA_KEY: &str = include_str!("tls/test-only-rsa-key.pem");
    /// A certificate of that key, of version 1: without extensions, as `openssl x509 -req` makes it.
    const VERSION_1: &str = include_str!("tls/test-only-version-1.pem");

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn certificate(key: &KeyPair) -> String {
        let params = CertificateParams::new(["test".to_owned()]).expect("a name");
        params.self_signed(key).expect("a certificate").pem()
    }

    /// The key inside a PKCS#8 key, in the older form of its kind: SEC 1 or PKCS#1.
    fn older_form(key: &KeyPair, kind: &str) -> String {
        /// The content of the first element of DER, and what follows it.
        fn first(der: &[u8]) -> (&[u8], &[u8]) {
            let (length, start) = match usize::from(der[1]) {
                short @ ..0x80 => (short, 2),
                long => {
                    let end = 2 + (long & 0x7f);
                    (der[2..end].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), end)
                }
            };
            der[start..].split_at(length)
        }
        let whole = key.serialize_der();
        let (sequence, _) = first(&whole);
        let (_version, rest) = first(sequence);
        let (_algorithm, rest) = first(rest);
        let text = base64::engine::general_purpose::STANDARD.encode(first(rest).0);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
    }

    #[test]
    fn keys_of_every_usual_kind_are_taken() {
        let made = |kind| KeyPair::generate_for(kind).expect("a key");
        let (ed25519, p256, p384) = (
            made(&rcgen::PKCS_ED25519),
            made(&rcgen::PKCS_ECDSA_P256_SHA256),
            made(&rcgen::PKCS_ECDSA_P384_SHA384),
        );
        let rsa = KeyPair::from_pem(RSA_KEY).expect("a key");
        for (key, text) in [
            (&ed25519, ed25519.serialize_pem()),
            (&p256, p256.serialize_pem()),
            (&p256, older_form(&p256, "EC PRIVATE KEY")),
            (&p384, p384.serialize_pem()),
            (&p384, older_form(&p384, "EC PRIVATE KEY")),
            (&rsa, RSA_KEY.to_owned()),
            (&rsa, older_form(&rsa, "RSA PRIVATE KEY")),
        ] {
            let own = certificate(key);
            let folder = folder_of(&[("key.pem", &text), ("cert.pem", &own), ("ca.pem", &own)]);
            for verify in [Verify::Yes, Verify::No] {
                let files = TlsFiles { folder: Some(folder.path().to_owned()), verify };
                files.config().unwrap_or_else(|why| panic!("{why}: {text}"));
            }
        }
    }

    /// A CA, and certificates of it for an engine on this machine and for somebody who asks.
    fn made_by_a_ca() -> tempfile::TempDir {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let named = |name: &str| {
            let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut ca = named("ca");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = ca.self_signed(&key).expect("a CA").pem();
        let issuer = Issuer::new(ca, &key);
        let [server, client] =
            ["server", "cert"].map(|name| named(name).signed_by(&key, &issuer).expect("a certificate").pem());
        let text = key.serialize_pem();
        folder_of(&[
            ("key.pem", &text),
            ("ca.pem", &authority),
            ("server.pem", &server),
            ("cert.pem", &client),
        ])
    }

    /// A server that wants to see a certificate of `ca.pem`, and answers as an engine would to a ping.
    async fn serve(listener: tokio::net::TcpListener, folder: PathBuf) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let files = TlsFiles { folder: Some(folder.clone()), verify: Verify::Yes };
        let roots = Arc::new(files.roots().expect("a CA"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let chain = read_certificates(&folder.join("server.pem")).expect("a certificate");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(chain, read_key(&folder.join("key.pem")).expect("a key"))
            .expect("a server");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\nContent-Length: 2\r\n\r\nOK";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    }

    #[tokio::test]
    async fn an_engine_is_believed_for_its_certificate_or_by_choice() {
        let (ours, other) = (made_by_a_ca(), made_by_a_ca());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = format!("tcp://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(serve(listener, ours.path().to_owned()));
        let answer = async |folder: &Path, variable: &str| {
            let folder = folder.display().to_string();
            let find = |name: &str| match name {
                "DOCKER_HOST" => Some(host.clone()),
                "DOCKER_CERT_PATH" => Some(folder.clone()),
                name => (name == variable).then(|| "1".to_owned()),
            };
            match super::super::connect(&super::super::Surroundings::new(&find, None)).await {
                Ok(engine) => engine.caution().unwrap_or_else(|| "believed".to_owned()),
                Err(super::super::EngineError::Unreachable { tried, .. }) => tried[0].1.clone(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(answer(ours.path(), "DOCKER_TLS_VERIFY").await, "believed");
        let told = answer(other.path(), "DOCKER_TLS_VERIFY").await;
        assert!(told.contains("invalid peer certificate"), "{told}");
        let careless = format!("nothing vouches for the engine at {host}: its certificate is not checked");
        assert_eq!(answer(ours.path(), "DOCKER_TLS").await, careless);
        // The engine looks at ours all the same.
        let told = answer(other.path(), "DOCKER_TLS").await;
        assert!(!told.contains("nothing vouches"), "{told}");
        server.abort();
    }

    #[test]
    fn old_certificates_are_taken_and_those_of_another_key_are_not() {
        let other = certificate(&KeyPair::generate().expect("a key"));
        for (own, is_good) in [(VERSION_1, true), (&*other, false)] {
            let folder = folder_of(&[("key.pem", RSA_KEY), ("cert.pem", own)]);
            let files = TlsFiles { folder: Some(folder.path().to_owned()), verify: Verify::No };
            let told = files.config().map(drop);
            assert_eq!(told.is_ok(), is_good, "{told:?}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_as_such() {
        let told = |text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("key.pem");
            std::fs::write(&path, text).expect("written");
            let error = read_key(&path).expect_err("no key");
            error.replace(&path.display().to_string(), "KEY")
        };
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(told(locked), "the key KEY has a passphrase, which nobody can be asked for");
        assert!(told("text").starts_with("cannot read the key KEY: "));
    }
}
