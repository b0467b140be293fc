//! A real Envoy, with the configuration that the documentation shows.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::link::Link;
use crate::support::upstream::{Reply, Upstream, send};
use crate::support::{Authority, eventually, http};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A proxy before a service, with a link to the authority that can be cut. It ends with this value.
pub(crate) struct Envoy {
    child: Child,
    folder: TempDir,
    pub(crate) link: Link,
    _upstream: Upstream,
    /// Where it takes requests.
    address: String,
    admin: String,
    /// Its own key.
    pub(crate) key_id: String,
}

impl Envoy {
    /// As the example has it.
    pub(crate) async fn start(authority: &Authority) -> Self {
        Self::start_with(authority, &[]).await
    }

    /// With parts of the example exchanged for others.
    pub(crate) async fn start_with(authority: &Authority, changes: &[(&str, &str)]) -> Self {
        let (key, _) = authority.new_caller(&["verify"], Some(&["acme"])).await;
        let (link, upstream) = (Link::to(authority.grpc().to_owned()).await, Upstream::start().await);
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        std::fs::write(&file, configuration(&link, &upstream, changes)).unwrap();
        let program = workspace().join(".venv/bin/envoy");
        assert!(program.is_file(), "{} is missing: run scripts/install-tools", program.display());
        let log = |name| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = Command::new(program)
            .arg("--config-path")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .args(["--file-flush-interval-msec", "50"])
            .env("ENVOY_KEY", &key.token)
            .stdin(Stdio::null())
            .stdout(log("stdout.log"))
            .stderr(log("stderr.log"))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (address, admin, key_id) = (String::new(), String::new(), key.id());
        let mut envoy = Self { child, folder, link, _upstream: upstream, address, admin, key_id };
        envoy.admin = eventually("its admin interface has an address", async || envoy.written_admin()).await;
        envoy.address = eventually("it takes requests", async || envoy.listening().await).await;
        envoy
    }

    /// The address of its admin interface, which it writes into a file.
    fn written_admin(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join("admin")).ok().filter(|address| !address.is_empty())
    }

    /// The address of its listener, as soon as it has one, and the authority is known to be well.
    async fn listening(&self) -> Option<String> {
        let (code, _) = http::get(&self.admin, "/ready").await;
        let (_, listeners) = http::get(&self.admin, "/listeners").await;
        let address = listeners.lines().find_map(|line| line.strip_prefix("api::"));
        address.filter(|_| code == 200).map(str::to_owned)
    }

    /// How many replicas of the authority it takes for well.
    pub(crate) async fn replicas(&self) -> Option<f64> {
        let (_, stats) = http::get(&self.admin, "/stats/prometheus?filter=membership_healthy").await;
        let cluster = [("envoy_cluster_name", "key-authority")];
        http::series(&stats, "envoy_cluster_membership_healthy", &cluster)
    }

    /// The answer to a request with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        let lines: Vec<_> = headers.iter().map(|line| line.as_bytes()).collect();
        self.get_bytes(path.as_bytes(), &lines).await
    }

    /// The same, byte for byte.
    pub(crate) async fn get_bytes(&self, path: &[u8], lines: &[&[u8]]) -> Reply {
        send(&self.address, path, lines).await
    }

    /// The answer to a request with this token.
    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Reply {
        self.get(path, &[&format!("Authorization: Bearer {token}")]).await
    }

    /// All that it has written.
    pub(crate) fn output(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        read("stdout.log") + &read("stderr.log")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            eprintln!("what Envoy wrote:\n{}", self.output());
        }
    }
}

/// The example with the addresses of the test, and its `changes`; each must be where it is looked for, once.
fn configuration(authority: &Link, upstream: &Upstream, changes: &[(&str, &str)]) -> String {
    let file = workspace().join("docs/examples/envoy/envoy.yaml");
    let port_of = |address: &str| address.rsplit(':').next().unwrap().to_owned();
    let ports = [
        ("9901", "0".to_owned()),
        ("10000", "0".to_owned()),
        ("50051", port_of(&authority.address)),
        ("8080", upstream.port.to_string()),
    ];
    let ports = ports.map(|(written, used)| (format!("port_value: {written} "), format!("port_value: {used} ")));
    let changes = changes.iter().map(|&(from, to)| (from.to_owned(), to.to_owned()));
    changes.chain(ports).fold(std::fs::read_to_string(file).unwrap(), |text, (from, to)| {
        assert_eq!(text.matches(&from).count(), 1, "{from} in:\n{text}");
        text.replace(&from, &to)
    })
}
