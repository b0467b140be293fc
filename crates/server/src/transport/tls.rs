//! TLS: the server's certificate, and the verification of client certificates.
//!
//! This module reads and re-reads the files. Certificates are renewed while the server runs, so the content of the
//! files is checked every few seconds: Kubernetes swaps a symbolic link, which a watch on the file itself would miss.
//! An invalid new file is logged and the old certificate stays in use, because an outage is worse than a certificate
//! that is about to expire. An invalid file at startup is an error. A private key must never be logged, nor any other
//! content of these files.

mod files;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use key_authority_certificates::CertificateProblem;
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use files::Content;
pub(crate) use files::TlsError;
pub use files::TlsFiles;

/// How often the files are checked.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The protocol of a listener whose clients use HTTP/2 only.
const HTTP2: &[&[u8]] = &[b"h2"];
/// The protocols of a listener that also serves HTTP/1.1.
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The configurations of one certificate, by the protocols that they offer (ALPN).
struct Configs {
    http2: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// When the certificate expires, in seconds since the Unix epoch.
    expiry: Option<u64>,
}

impl Configs {
    fn new(config: &ServerConfig, content: &Content) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self { http2: offering(HTTP2), http: offering(HTTP), expiry: content.expiry() }
    }
}

/// Performs TLS handshakes with the newest valid certificate. Clones share it.
#[derive(Clone)]
pub struct Acceptor(Arc<ArcSwap<Configs>>);

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Performs the handshake on `stream`. It takes as long as the peer likes; the caller sets the timeout.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, stream: TcpStream, serves_http1: bool) -> io::Result<TlsStream<TcpStream>> {
        let configs = self.0.load_full();
        let config = if serves_http1 { &configs.http } else { &configs.http2 };
        TlsAcceptor::from(Arc::clone(config)).accept(stream).await
    }

    /// Returns when the certificate in use expires, in seconds since the Unix epoch.
    #[must_use]
    pub fn expiry(&self) -> Option<u64> {
        self.0.load().expiry
    }
}

/// The result of a check of the files.
#[derive(Debug)]
pub enum Reload {
    /// The files have not changed.
    Unchanged,
    /// The files have changed; new connections use the new content.
    Replaced,
    /// The files have changed and cannot be used; the old content stays in use.
    Kept(TlsError),
}

/// Reloads the files of one [`Acceptor`].
#[derive(Debug)]
pub struct Reloader {
    files: TlsFiles,
    acceptor: Acceptor,
    /// The digest of the content of the last check, valid or not, so that an invalid file is reported once.
    seen: blake3::Hash,
    /// The content that is in use.
    content: Content,
    /// The reasons why clients reject the certificate, as they were logged last.
    problems: Vec<CertificateProblem>,
}

/// Reads the files for the first time.
///
/// # Errors
/// `TlsError`, which names the file and the error.
pub async fn load(files: TlsFiles) -> Result<(Acceptor, Reloader), TlsError> {
    let content = files.read().await?;
    let acceptor = Acceptor(Arc::new(ArcSwap::from_pointee(Configs::new(&content.server_config(&files)?, &content))));
    let (seen, problems) = (content.digest(), Vec::new());
    let reloader = Reloader { files, acceptor: acceptor.clone(), seen, content, problems };
    Ok((acceptor, reloader))
}

impl Reloader {
    /// Checks the files once.
    pub async fn check(&mut self) -> Reload {
        let content = match self.files.read().await {
            Ok(content) => content,
            Err(error) => {
                // An unreadable file is no content: any content must count as new afterwards.
                let unreadable = blake3::hash(error.to_string().as_bytes());
                let known = std::mem::replace(&mut self.seen, unreadable) == unreadable;
                return if known { Reload::Unchanged } else { Reload::Kept(error) };
            }
        };
        let digest = content.digest();
        if std::mem::replace(&mut self.seen, digest) == digest {
            return Reload::Unchanged;
        }
        match content.server_config(&self.files) {
            Ok(_) if self.is_worse(&content, UnixTime::now()) => {
                Reload::Kept(TlsError::Expired { path: self.files.cert.clone() })
            }
            Ok(config) => {
                self.acceptor.0.store(Arc::new(Configs::new(&config, &content)));
                self.content = content;
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        }
    }

    /// Whether the certificate of `new` has expired, and the one in use has not.
    fn is_worse(&self, new: &Content, now: UnixTime) -> bool {
        let has_expired = |content: &Content| content.problems(now).contains(&CertificateProblem::Expired);
        has_expired(new) && !has_expired(&self.content)
    }

    /// Logs why clients reject the certificate, each reason once. It may also expire while the server runs.
    fn log_problems(&mut self) {
        // The clock that rustls reads to verify the certificates of clients.
        let problems = self.content.problems(UnixTime::now());
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            let certificate = self.files.cert.display();
            tracing::warn!(%certificate, reason = format!("it {problem}"), "clients may reject the TLS certificate");
        }
        self.problems = problems;
    }

    /// Checks the files every few seconds, and at once when `wanted` is notified, until `stop` is cancelled. Logs
    /// changes.
    pub(crate) async fn run(mut self, wanted: Arc<Notify>, stop: CancellationToken) {
        self.log_problems();
        while stop.run_until_cancelled(timeout(RELOAD_INTERVAL, wanted.notified())).await.is_some() {
            match self.check().await {
                Reload::Unchanged => {}
                Reload::Replaced => tracing::info!(certificate = %self.files.cert.display(), "TLS files reloaded"),
                Reload::Kept(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "invalid new TLS files; keeping the old ones"
                    );
                }
            }
            self.log_problems();
        }
    }
}
