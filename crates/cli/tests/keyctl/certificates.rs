//! Certificates that are wrong, as their users get them from openssl: keyctl says in words what is wrong.

use std::fs;
use std::path::Path;
use std::process::Command;

use key_authority_certificates::CREATE_COMMANDS;

use crate::server::Server;
use crate::support::{Ended, keyctl, run};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn openssl(folder: &Path, words: &str) {
    openssl_with(Command::new("openssl").args(words.split_whitespace()).current_dir(folder));
}

fn openssl_with(command: &mut Command) {
    let output = command.output().expect("openssl");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a CA and a certificate for localhost that it has signed.
fn certify(folder: &Path) {
    openssl(folder, &format!("req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    issue(folder, "server", "-addext subjectAltName=DNS:localhost");
}

/// Makes a certificate that the CA has signed.
fn issue(folder: &Path, name: &str, extensions: &str) {
    let files = format!("-keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}");
    openssl(
        folder,
        &format!("req -x509 -CA ca.pem -CAkey ca.key {NEW_KEY} {files} -addext basicConstraints=CA:FALSE {extensions}"),
    );
}

/// Starts a server with what `make` makes in its folder: `server.pem` and `server.key`.
fn serve(make: impl FnOnce(&Path), more: &[(&str, &str)]) -> Server {
    Server::start_with(|folder| {
        make(folder);
        let files = [("--tls-cert", "server.pem"), ("--tls-key", "server.key")];
        let flag = |(flag, file): &(&str, &str)| [(*flag).to_owned(), folder.join(file).display().to_string()];
        files.iter().chain(more).flat_map(flag).collect()
    })
}

fn port(server: &Server) -> &str {
    server.address.rsplit_once(':').unwrap().1
}

/// `keyctl status` at the server, by this name of it.
fn status(server: &Server, host: &str, words: &[&str]) -> Ended {
    let endpoint = format!("https://{host}:{}", port(server));
    let target = ["--endpoint", &endpoint, "--token-file", "data/root.token", "status"];
    run(keyctl(server.folder()).args(target).args(words))
}

#[test]
fn the_commands_in_the_message_make_certificates_that_work() {
    let server = serve(
        |folder| {
            let files = "-keyout server.key -out server.pem -days 2 -subj /CN=localhost";
            openssl(folder, &format!("req -x509 {NEW_KEY} {files} -addext subjectAltName=DNS:localhost"));
        },
        &[],
    );
    let ended = status(&server, "localhost", &["--ca-file", "server.pem"]).with(6).says("is a CA certificate");
    let ended = CREATE_COMMANDS.iter().fold(ended, |ended, command| ended.says(command));
    drop(ended);
    let server = serve(
        |folder| {
            for command in CREATE_COMMANDS {
                let command = command.replace("NAME", "localhost");
                openssl_with(Command::new("sh").args(["-c", &command]).current_dir(folder));
            }
        },
        &[],
    );
    status(&server, "localhost", &["--ca-file", "ca.pem"]).with(0);
}

#[test]
fn a_certificate_of_another_name_or_another_ca_is_named() {
    let server = serve(certify, &[]);
    let ca = ["--ca-file", "ca.pem"];
    status(&server, "localhost", &ca).with(0);
    status(&server, "127.0.0.1", &ca).with(6).says("is not for 127.0.0.1, but for").says("localhost");
    status(&server, "localhost", &[]).with(6).says("no trusted CA has signed the server's certificate");
    let folder = server.folder();
    for (subject, words) in [("other", "no trusted CA has signed"), ("ca", "one of the same name")] {
        openssl(folder, &format!("req -x509 {NEW_KEY} -keyout other.key -out other.pem -days 2 -subj /CN={subject}"));
        status(&server, "localhost", &["--ca-file", "other.pem"]).with(6).says(words);
    }
}

#[test]
fn a_certificate_that_is_over_or_not_for_servers_is_named() {
    for (extensions, words) in [
        ("-addext extendedKeyUsage=clientAuth -addext subjectAltName=DNS:localhost", "is not for servers"),
        ("-addext keyUsage=digitalSignature", "no name at all"),
    ] {
        let make = |folder: &Path| {
            certify(folder);
            issue(folder, "server", extensions);
        };
        status(&serve(make, &[]), "localhost", &["--ca-file", "ca.pem"]).with(6).says(words);
    }
    for (clock, words) in [("-10d", "has expired"), ("+10d", "is not valid yet")] {
        let make = |folder: &Path| {
            certify(folder);
            let request = format!("req -x509 -CA ca.pem -CAkey ca.key {NEW_KEY} -keyout server.key -out server.pem");
            let request = format!("{request} -days 5 -subj /CN=x -addext basicConstraints=CA:FALSE");
            let name = "-addext subjectAltName=DNS:localhost";
            let mut command = Command::new("openssl");
            command.args(request.split(' ')).args(name.split(' ')).current_dir(folder);
            openssl_with(command.env("LD_PRELOAD", faketime()).env("FAKETIME", clock));
        };
        status(&serve(make, &[]), "localhost", &["--ca-file", "ca.pem"]).with(6).says(words);
    }
}

fn faketime() -> String {
    let libraries = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found = libraries.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|library| library.exists());
    found.next().expect("libfaketime is installed: run scripts/install-tools").display().to_string()
}

#[test]
fn a_client_certificate_that_is_missing_or_of_another_ca_is_named() {
    let make = |folder: &Path| {
        certify(folder);
        issue(folder, "client", "");
        openssl(folder, &format!("req -x509 {NEW_KEY} -keyout other.key -out other.pem -days 2 -subj /CN=other"));
    };
    let server = serve(make, &[("--client-ca", "ca.pem")]);
    let ca = ["--ca-file", "ca.pem", "--timeout", "1s"];
    let with = |name: &str| {
        let [cert, key] = ["pem", "key"].map(|end| format!("{name}.{end}"));
        status(&server, "localhost", &[&ca[..], &["--client-cert", &cert, "--client-key", &key]].concat())
    };
    with("client").with(0);
    // In TLS 1.3 the server rejects a client after the client's handshake is complete. The client sees a closed
    // connection.
    status(&server, "localhost", &ca).with(6).says("mutual TLS").says("--client-cert");
    with("other").with(6).says("mutual TLS").says("--client-cert");
}

#[test]
fn files_with_other_content_are_named_with_what_they_contain() {
    let server = serve(certify, &[]);
    let folder = server.folder();
    openssl(folder, "x509 -in ca.pem -outform der -out ca.der");
    openssl(folder, "pkey -in server.key -outform der -out key.der");
    openssl(folder, "pkey -in server.key -aes256 -passout pass:x -out encrypted.key");
    openssl(folder, &format!("req {NEW_KEY} -keyout request.key -out request.pem -subj /CN=x"));
    issue(folder, "client", "");
    fs::write(folder.join("empty.pem"), "\n").unwrap();
    let one_line = fs::read_to_string(folder.join("server.key")).unwrap().replace('\n', " ");
    fs::write(folder.join("line.key"), &one_line).unwrap();
    let with_mark = [b"\xef\xbb\xbf", &fs::read(folder.join("ca.pem")).unwrap()[..]].concat();
    fs::write(folder.join("mark.pem"), with_mark).unwrap();
    for key in ["key.der", "encrypted.key", "line.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    }
    status(&server, "localhost", &["--ca-file", "mark.pem"]).with(0);
    for (file, words) in [
        ("ca.der", "openssl x509 -inform der"),
        ("server.key", "it contains a private key"),
        ("request.pem", "a certificate request"),
        ("empty.pem", "it is empty"),
    ] {
        status(&server, "localhost", &["--ca-file", file]).with(8).says(file).says(words);
    }
    for (key, words) in [
        ("key.der", "openssl pkey -inform der"),
        ("encrypted.key", "openssl pkey -in FILE"),
        ("line.key", "damaged"),
        ("ca.key", "belongs to another certificate"),
    ] {
        let identity = ["--client-cert", "client.pem", "--client-key", key];
        let ended = status(&server, "localhost", &[&["--ca-file", "ca.pem"], &identity[..]].concat()).with(8);
        assert!(!ended.says(key).says(words).stderr.contains(&one_line[40..60]), "the key is shown");
    }
}
