//! TLS: the certificate shown, and the client certificates asked for.
//!
//! Owns the files' reading and re-reading. Certificates are renewed while we run, so the files are looked at every few seconds,
//! by content: Kubernetes swaps a symbolic link, which no watch on the file itself would see. A bad new file is logged and
//! the old certificate stays, because a door that shuts itself is worse than one whose certificate is about to expire; a bad
//! file at start is an error. A private key must never be logged, nor any other content of these files.

mod files;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use files::{TlsError, TlsFiles};

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// Shakes hands with the newest good certificate. Clones share it.
#[derive(Clone)]
pub struct Acceptor(Arc<ArcSwap<ServerConfig>>);

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Shakes hands on `stream`. It takes as long as the peer likes: the caller sets the time-out.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.load_full()).accept(stream).await
    }
}

/// What a look at the files has found.
#[derive(Debug)]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// New connections use the new content.
    Replaced,
    /// They changed into something that cannot be used; the old content stays in use.
    Kept(TlsError),
}

/// Looks after the files of one [`Acceptor`].
#[derive(Debug)]
pub struct Reloader {
    files: TlsFiles,
    acceptor: Acceptor,
    /// Of the content last looked at, good or bad, so that a bad file is reported once.
    seen: blake3::Hash,
}

/// Reads the files for the first time.
///
/// # Errors
/// [`TlsError`], naming the file and what is wrong with it.
pub async fn load(files: TlsFiles) -> Result<(Acceptor, Reloader), TlsError> {
    let content = files.read().await?;
    let acceptor = Acceptor(Arc::new(ArcSwap::from_pointee(content.server_config(&files)?)));
    let reloader = Reloader { files, acceptor: acceptor.clone(), seen: content.digest() };
    Ok((acceptor, reloader))
}

impl Reloader {
    /// Looks at the files once.
    pub async fn check(&mut self) -> Reload {
        let content = match self.files.read().await {
            Ok(content) => content,
            Err(error) => {
                // Not a content: what was there before must count as new when it comes back in another shape.
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
            Ok(config) => {
                self.acceptor.0.store(Arc::new(config));
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        }
    }

    /// Looks at the files every few seconds until `stop` is cancelled, and logs what changes.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(RELOAD_INTERVAL)).await.is_some() {
            match self.check().await {
                Reload::Unchanged => {}
                Reload::Replaced => tracing::info!(certificate = %self.files.cert.display(), "TLS files reloaded"),
                Reload::Kept(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "new TLS files refused; the old stay in use"
                    );
                }
            }
        }
    }
}
