//! A real nginx, Traefik or Caddy, with the configuration that the documentation shows.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::link::Link;
use crate::support::upstream::{Reply, Upstream, send, send_from};
use crate::support::{Authority, eventually};

/// A proxy that asks by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Traefik,
    Caddy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Traefik, Self::Caddy];

    /// The file in `docs/examples/proxies` that has the routes.
    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Traefik => "traefik-routes.yaml",
            Self::Caddy => "Caddyfile",
        }
    }
}

/// A proxy in front of a service, with a link to the authority that can be cut. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    child: Child,
    folder: TempDir,
    pub(crate) link: Link,
    _upstream: Upstream,
    /// Where it accepts requests.
    pub(crate) address: String,
    /// The ID of its own key.
    pub(crate) key_id: String,
}

impl Proxy {
    /// Starts each of the three as the examples have it.
    pub(crate) async fn all(authority: &Authority) -> Vec<Self> {
        Self::all_with(authority, ("", "")).await
    }

    /// Starts each of the three with a part of the route configuration replaced.
    pub(crate) async fn all_with(authority: &Authority, change: (&str, &str)) -> Vec<Self> {
        let mut proxies = Vec::new();
        for kind in Kind::ALL {
            proxies.push(Self::start(kind, authority, change).await);
        }
        proxies
    }

    async fn start(kind: Kind, authority: &Authority, (from, to): (&str, &str)) -> Self {
        let (key, _) = authority.new_caller(&["verify"], Some(&["acme"])).await;
        let (link, upstream) = (Link::to(authority.api().to_owned()).await, Upstream::start().await);
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let host = own_address();
        let [web, internal] = [free_port(host), free_port(host)].map(|port| format!("{host}:{port}"));
        let port = web.rsplit(':').next().unwrap();
        let example = Example { folder: folder.path() };
        let mut replacements =
            vec![("127.0.0.1:8051", link.address.clone()), ("127.0.0.1:8080", format!("127.0.0.1:{}", upstream.port))];
        replacements.extend((!from.is_empty()).then(|| (from, to.to_owned())));
        match kind {
            Kind::Nginx => {
                let header = format!("proxy_set_header X-Key-Authority-Caller \"Bearer {}\";", key.token);
                let token = example.write("token", &header);
                replacements.extend([("127.0.0.1:8000", web.clone()), ("/etc/nginx/key-authority.token", token)]);
            }
            Kind::Traefik => {
                replacements.push(("127.0.0.1:8001", internal.clone()));
                let routes = example.path("traefik-routes.yaml");
                let listeners = [("127.0.0.1:8000", web.clone()), ("127.0.0.1:8001", internal)];
                let listeners = [&listeners[..], &[("/etc/traefik/traefik-routes.yaml", routes)]].concat();
                example.copy("traefik.yaml", &listeners);
            }
            Kind::Caddy => {
                let token = example.write("token", &key.token);
                replacements.extend([
                    ("http://:8000", format!("http://:{port}")),
                    ("bind 127.0.0.1", format!("bind {host}")),
                    ("/etc/caddy/key-authority.token", token),
                ]);
            }
        }
        example.copy(kind.file(), &replacements);
        let mut command = example.command(kind, &key.token);
        let log = |name| std::fs::File::create(folder.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(log("stdout.log")).stderr(log("stderr.log")).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/install-tools"));
        let proxy = Self { kind, child, folder, link, _upstream: upstream, address: web, key_id: key.id() };
        let is_ready = async || {
            tokio::net::TcpStream::connect(&proxy.address).await.ok()?;
            (proxy.get("/healthz", &[]).await.code == 200).then_some(())
        };
        eventually(&format!("{kind:?} serves its routes"), is_ready).await;
        proxy
    }

    /// Sends a request with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        let lines: Vec<_> = headers.iter().map(|line| line.as_bytes()).collect();
        self.get_bytes(path.as_bytes(), &lines).await
    }

    /// Sends a request with this token.
    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Reply {
        self.get(path, &[&bearer(token)]).await
    }

    /// Sends a request, byte for byte.
    pub(crate) async fn get_bytes(&self, path: &[u8], lines: &[&[u8]]) -> Reply {
        send(&self.address, path, lines).await
    }

    /// Sends a request from one of the addresses of this machine.
    pub(crate) async fn get_from(&self, source: IpAddr, headers: &[&str]) -> Reply {
        let lines: Vec<_> = headers.iter().map(|line| line.as_bytes()).collect();
        send_from(source, &self.address, b"/", &lines).await
    }

    /// Everything that it has written.
    fn output(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stdout.log") + &read("stderr.log")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            eprintln!("the end of the log of {:?}:\n{}", self.kind, lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// The credential of a visitor.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The files of a proxy.
struct Example<'a> {
    folder: &'a Path,
}

impl Example<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.join(name), text).unwrap();
        self.path(name)
    }

    /// Copies an example with these replacements. Each must have something to replace.
    fn copy(&self, name: &str, replacements: &[(&str, String)]) {
        let file = workspace().join("docs/examples/proxies").join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let text = replacements.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from} is not in {name}");
            text.replace(from, to)
        });
        self.write(name, &text);
    }

    /// Makes the command that runs a proxy in the foreground.
    fn command(&self, kind: Kind, token: &str) -> Command {
        match kind {
            Kind::Nginx => {
                let file = self.write("main.conf", &self.nginx_main());
                let mut command = Command::new("/usr/sbin/nginx");
                command.args(["-e", "stderr", "-c", &file]);
                command
            }
            Kind::Traefik => {
                let mut command = Command::new(workspace().join(".venv/bin/traefik"));
                command.arg(format!("--configFile={}", self.path("traefik.yaml"))).env("AUTHORITY_TOKEN", token);
                command
            }
            Kind::Caddy => {
                let mut command = Command::new(workspace().join(".venv/bin/caddy"));
                command.args(["run", "--adapter", "caddyfile", "--config", &self.path("Caddyfile")]);
                // Its own folders, and a socket for its administration.
                command.env("XDG_DATA_HOME", self.folder).env("XDG_CONFIG_HOME", self.folder);
                command.env("CADDY_ADMIN", format!("unix/{}", self.path("admin.sock")));
                command
            }
        }
    }

    /// The part of nginx's configuration that comes with Debian's package, in this folder and as one process.
    fn nginx_main(&self) -> String {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {};\n", self.path(name))).concat();
        format!(
            "load_module /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so;\n\
             daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}include {};\n}}\n",
            self.path("pid"),
            self.path("nginx.conf"),
        )
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns an address of this machine that no other proxy uses, so that no other test takes its ports meanwhile.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64, high, low.clamp(1, 254))
}

fn free_port(host: Ipv4Addr) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}
