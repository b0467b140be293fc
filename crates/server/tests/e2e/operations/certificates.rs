//! Certificates that are wrong: the server says what is wrong at start, in words, and warns of what clients reject.

use std::path::Path;
use std::process::Command;

use tonic::transport::{Certificate, ClientTlsConfig};

use crate::support::certificates::Certificates;
use crate::support::process::{Ended, program, run};
use crate::support::{Database, Setup, eventually, http, on_sqlite};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a server and `check-config` say to these files, in this folder.
async fn refusals(folder: &Path, cert: &str, key: &str) -> [Ended; 2] {
    let mut refusals = Vec::new();
    for subcommand in ["serve", "check-config"] {
        let mut command = program();
        command.arg(subcommand).args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.join("data"));
        command.arg("--tls-cert").arg(folder.join(cert)).arg("--tls-key").arg(folder.join(key));
        refusals.push(run(command).await.badly());
    }
    refusals.try_into().unwrap()
}

async fn files_with_other_content_are_named_with_what_they_contain(_database: Database) {
    let certificates = Certificates::new();
    let path = certificates.path("");
    openssl(&path, "x509 -in server.pem -outform der -out der.pem");
    openssl(&path, "pkey -in server.key -outform der -out der.key");
    openssl(&path, "pkey -in server.key -aes256 -passout pass:x -out encrypted.key");
    openssl(&path, "ec -in server.key -aes256 -passout pass:x -out legacy.key");
    let chain = [certificates.read("ca.pem"), certificates.read("server.pem")].concat();
    std::fs::write(certificates.path("chain.pem"), chain).unwrap();
    let one_line = String::from_utf8(certificates.read("server.key")).unwrap().replace('\n', " ");
    std::fs::write(certificates.path("line.key"), &one_line).unwrap();
    for (cert, key, words) in [
        ("der.pem", "server.key", "it is binary; if it is DER, `openssl x509 -inform der"),
        ("server.pem", "der.key", "it is binary; if it is DER, `openssl pkey -inform der"),
        ("server.pem", "encrypted.key", "its private key is encrypted"),
        ("server.pem", "legacy.key", "its private key is encrypted"),
        ("server.pem", "line.key", "its PEM is damaged"),
        ("server.key", "server.key", "it contains a private key; are the files swapped?"),
        ("server.pem", "server.pem", "it contains a certificate; are the files swapped?"),
        ("server.csr", "server.key", "it contains a certificate request"),
        ("server.pem", "client.key", "the private key belongs to another certificate"),
        ("chain.pem", "server.key", "the private key belongs to certificate 2 of the file; put that certificate first"),
    ] {
        for refusal in refusals(&path, cert, key).await {
            let text = refusal.text();
            assert!(text.contains(words) && text.contains("--tls-"), "{cert} {key}: {text}");
            assert!(!text.contains(&one_line[40..60]) && !text.contains("[45, 45"), "the key is shown: {text}");
        }
    }
}

async fn certificates_that_clients_reject_are_warned_of(database: Database) {
    for (extensions, words) in [
        ("-addext subjectAltName=DNS:localhost", "it is a CA certificate"),
        ("-addext basicConstraints=CA:FALSE", "it has no subjectAltName"),
    ] {
        let certificates = Certificates::new();
        let path = certificates.path("");
        let files = format!("-keyout server.key -out server.pem -days 2 -subj /CN=localhost {extensions}");
        openssl(&path, &format!("req -x509 {NEW_KEY} {files}"));
        let authority = Setup::on(database).flags(certificates.flags(false)).prepare().await;
        let mut command = authority.serve_command();
        command.stdout(std::process::Stdio::null());
        let log = authority.folder().join("stderr.log");
        command.stderr(std::fs::File::create(&log).unwrap());
        let _server = command.spawn().unwrap();
        let line = eventually("the warning", async || {
            authority
                .output()
                .lines()
                .find(|line| line.contains("clients may reject the TLS certificate"))
                .map(str::to_owned)
        });
        let line = line.await;
        assert!(line.contains("WARN") && line.contains(words), "{line}");

        let mut command = program();
        command.arg("check-config").args(certificates.flags(false));
        let text = run(command).await.badly().text();
        assert!(text.contains("--tls-cert") && text.contains(words), "{text}");
    }
}

async fn a_certificate_that_is_rejected_does_not_replace_the_one_that_warnings_are_about(database: Database) {
    const WARNING: &str = "clients may reject the TLS certificate";
    const REJECTED: &str = "invalid new TLS files; keeping the old ones";
    let certificates = Certificates::new();
    let setup = Setup::on(database).flags(certificates.flags(false));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates.read("ca.pem")));
    let authority = setup.tls(tls.domain_name("localhost")).start().await;
    let rejected = async |count: usize| {
        authority.signal(rustix::process::Signal::HUP);
        let is_logged = async || (authority.output().matches(REJECTED).count() == count).then_some(());
        eventually("the new files are rejected", is_logged).await;
    };
    // A certificate without a name, whose key is not in place.
    let files = "-keyout other.key -out server.pem -days 2 -subj /CN=localhost -addext basicConstraints=CA:FALSE";
    openssl(&certificates.path(""), &format!("req -x509 {NEW_KEY} {files}"));
    rejected(1).await;
    std::fs::write(certificates.path("server.pem"), "nonsense").unwrap();
    rejected(2).await;
    // The right key, but a certificate whose time is over.
    let issue =
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -extfile names -out over.pem";
    openssl(&certificates.path(""), issue);
    std::fs::rename(certificates.path("over.pem"), certificates.path("server.pem")).unwrap();
    rejected(3).await;
    assert!(authority.output().contains("the certificate has expired"));
    assert!(!authority.output().contains(WARNING), "the certificate in use is right");
}

async fn the_end_of_the_certificate_in_use_is_a_metric(database: Database) {
    const METRIC: &str = "keyauthority_tls_certificate_expiry_timestamp_seconds";
    let certificates = Certificates::new();
    let end = || {
        let seconds = "date -d \"$(openssl x509 -in server.pem -noout -enddate | cut -d= -f2)\" +%s";
        let output = Command::new("sh").args(["-c", seconds]).current_dir(certificates.path("")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap()
    };
    let setup = Setup::on(database).flags(certificates.flags(false));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates.read("ca.pem")));
    let authority = setup.tls(tls.domain_name("localhost")).start().await;
    let shown = async || http::series(&authority.metrics().await, METRIC, &[]).unwrap();
    let first = end();
    assert!((shown().await - first).abs() < 0.5);
    let issue =
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.pem";
    openssl(&certificates.path(""), issue);
    assert!(end() > first);
    authority.signal(rustix::process::Signal::HUP);
    eventually("the new certificate is in use", async || ((shown().await - end()).abs() < 0.5).then_some(())).await;
}

on_sqlite! {
    the_end_of_the_certificate_in_use_is_a_metric,
    a_certificate_that_is_rejected_does_not_replace_the_one_that_warnings_are_about,
    files_with_other_content_are_named_with_what_they_contain,
    certificates_that_clients_reject_are_warned_of,
}
