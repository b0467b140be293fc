//! A proxy to a database server that can cut or hang the connection when the client sends COMMIT.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Database, Kind};

/// What happens to the connection that sends the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is closed before the server receives the COMMIT.
    CutBefore,
    /// It is closed as soon as the COMMIT was sent to the server.
    CutAfter,
    /// It is closed when the server has answered, and the response is lost.
    CutAnswer,
    /// It is closed before the server receives the COMMIT, and so is each later connection.
    CutForGood,
    /// It hangs before the server receives the COMMIT: it stays open, and no data passes.
    Silence,
    /// It hangs when the server has answered.
    SilenceAnswer,
}

/// The proxy.
pub(crate) struct Proxy {
    /// The database's URL through the proxy.
    pub(crate) url: String,
    link: Arc<Link>,
}

#[derive(Default)]
struct Link {
    next: Mutex<Option<Fate>>,
    is_cut: watch::Sender<bool>,
}

impl Proxy {
    /// Starts a proxy to the server of `database`.
    pub(crate) async fn open(database: &Database) -> Self {
        let (before, rest) = database.url.rsplit_once('@').expect("a URL with a user");
        let (server, name) = rest.split_once('/').expect("a URL with a path");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plain = if database.kind == Kind::Postgres { "sslmode=disable" } else { "ssl-mode=disabled" };
        let link = Arc::<Link>::default();
        tokio::spawn(serve(listener, server.to_owned(), Arc::clone(&link)));
        Self { url: format!("{before}@127.0.0.1:{port}/{name}?{plain}"), link }
    }

    /// Closes all connections and rejects new ones.
    pub(crate) fn cut(&self) {
        self.link.is_cut.send_replace(true);
    }

    /// Accepts connections again.
    pub(crate) fn mend(&self) {
        self.link.is_cut.send_replace(false);
    }

    /// Sets what happens to the connection of the next COMMIT.
    pub(crate) fn arm(&self, fate: Fate) {
        *self.link.next.lock().expect("no panic") = Some(fate);
    }

    /// Whether a COMMIT has triggered it since.
    pub(crate) fn has_struck(&self) -> bool {
        self.link.next.lock().expect("no panic").is_none()
    }
}

async fn serve(listener: TcpListener, server: String, link: Arc<Link>) {
    while let Ok((client, _)) = listener.accept().await {
        if *link.is_cut.borrow() {
            continue;
        }
        let upstream = TcpStream::connect(&server).await.expect("the database server");
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            let mut is_cut = link.is_cut.subscribe();
            tokio::select! {
                () = carry(client, upstream, &link) => {}
                _ = is_cut.wait_for(|is_cut| *is_cut) => {}
            }
        });
    }
}

/// Forwards data in both directions until a side closes or a COMMIT triggers the fate.
async fn carry(mut client: TcpStream, mut server: TcpStream, link: &Link) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Some(bytes) = some_bytes(&asked, read) else { return };
                if let Some(fate) = link.fate_of(bytes) {
                    return meet(fate, bytes, server, link).await;
                }
                if server.write_all(bytes).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Some(bytes) = some_bytes(&answered, read) else { return };
                if client.write_all(bytes).await.is_err() { return }
            }
        }
    }
}

fn some_bytes(buffer: &[u8], read: std::io::Result<usize>) -> Option<&[u8]> {
    read.ok().filter(|count| *count > 0).and_then(|count| buffer.get(..count))
}

async fn meet(fate: Fate, commit: &[u8], mut server: TcpStream, link: &Link) {
    if matches!(fate, Fate::CutAfter | Fate::CutAnswer | Fate::SilenceAnswer) {
        server.write_all(commit).await.expect("the database server takes a COMMIT");
    }
    if matches!(fate, Fate::CutAnswer | Fate::SilenceAnswer) {
        assert!(server.read(&mut [0; 1024]).await.expect("an answer") > 0);
    }
    if matches!(fate, Fate::Silence | Fate::SilenceAnswer) {
        std::future::pending::<()>().await;
    }
    if fate == Fate::CutForGood {
        link.is_cut.send_replace(true);
    }
}

impl Link {
    /// What happens to the connection, if this is the armed COMMIT.
    fn fate_of(&self, bytes: &[u8]) -> Option<Fate> {
        let is_commit = bytes.strip_suffix(b"\0").unwrap_or(bytes).ends_with(b"COMMIT");
        if is_commit { self.next.lock().expect("no panic").take() } else { None }
    }
}
