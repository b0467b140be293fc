//! The server under attack, with a data folder of its own.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::database::Database;
use key_authority_testkit::process::{self, command};
use key_authority_testkit::server::Server;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;
use tokio::process::Command;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_mins(1);

/// What is special about a server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) arguments: &'static [&'static str],
    pub(crate) has_tls: bool,
    pub(crate) is_log_unread: bool,
}

/// A running server. Dropping it ends the process and removes its data.
#[derive(Debug)]
pub(crate) struct Subject {
    // The order of the fields is the drop order: the process must not outlive its folder.
    pub(crate) server: Server,
    /// The root token.
    pub(crate) root: String,
    /// The certificate of the authority, if the server has TLS.
    pub(crate) ca: Option<Vec<u8>>,
    /// Its standard error; a pipe that nobody reads if the log is unread.
    pub(crate) log: PathBuf,
    _unread_pipe: Option<File>,
    _database: Option<Database>,
    _folder: TempDir,
}

impl Subject {
    /// Starts a server on an empty database: of the database server at this URL, or else of SQLite.
    pub(crate) async fn start(program: &Path, database_server: Option<&str>, options: Options) -> Result<Self> {
        let program = program.canonicalize().with_context(|| format!("no server at {}", program.display()))?;
        let folder = tempfile::Builder::new().prefix("key-authority-abuse-").tempdir();
        let folder = folder.context("cannot create a temporary folder")?;
        let (log, pipe, data) = (folder.path().join("log"), folder.path().join("pipe"), folder.path().join("data"));
        let (mut command, unread_pipe) = if options.is_log_unread {
            let unread_pipe = unread_pipe(&pipe)?;
            let mut shell = command("sh");
            shell.args(["-c", "exec \"$@\" 2>\"$0\""]).arg(&pipe).arg(&program);
            (shell, Some(unread_pipe))
        } else {
            (command(&program), None)
        };
        command.arg("serve");
        for listener in ["--listen", "--http-listen", "--api-listen"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.arg("--data-dir").arg(&data).args(options.arguments);
        let database = database_server.map(|server| Database::create(server, "abuse")).transpose()?;
        let token = match &database {
            Some(database) => shared_database(&program, folder.path(), database, &mut command).await?,
            None => data.join("root.token"),
        };
        let ca = if options.has_tls { Some(certificates(folder.path(), &mut command).await?) } else { None };
        let server = Server::start("the server", command, &log, START_LIMIT).await?;
        let root = std::fs::read_to_string(token).context("cannot read the root token")?.trim().to_owned();
        Ok(Self { server, root, ca, log, _unread_pipe: unread_pipe, _database: database, _folder: folder })
    }
}

/// Leads the server to a database of a database server, and returns the file of its first root token.
async fn shared_database(program: &Path, folder: &Path, database: &Database, server: &mut Command) -> Result<PathBuf> {
    let file = |name: &str| folder.join(name);
    for (subcommand, name) in [("generate-secret", "secret"), ("generate-token", "token")] {
        let mut generate = command(program);
        generate.arg(subcommand);
        write_private(&file(name), &process::run(generate).await?)?;
    }
    write_private(&file("database.url"), database.url().as_str())?;
    server.arg("--database-url-file").arg(file("database.url")).arg("--secret-file").arg(file("secret"));
    server.arg("--bootstrap-token-file").arg(file("token"));
    Ok(file("token"))
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string())
}

/// A named pipe that is open for reading, so that the server can open it, and is never read.
fn unread_pipe(path: &Path) -> Result<File> {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).context("cannot create a pipe")?;
    // Opened for writing too: opened for reading alone, this would wait for the server.
    File::options().read(true).write(true).open(path).context("cannot open a pipe")
}

/// Makes certificates, adds the server's to its command, and returns that of the authority.
async fn certificates(folder: &Path, server: &mut Command) -> Result<Vec<u8>> {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").context("cannot write")?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for words in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names"
            .to_owned(),
    ] {
        let mut openssl = command("openssl");
        openssl.args(words.split(' ')).current_dir(folder);
        process::run(openssl).await?;
    }
    server.arg("--tls-cert").arg(folder.join("server.pem")).arg("--tls-key").arg(folder.join("server.key"));
    std::fs::read(folder.join("ca.pem")).context("cannot read the certificate")
}
