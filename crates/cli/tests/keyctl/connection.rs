//! Connection to the authority: profiles and TLS.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::server::Server;
use crate::support::{keyctl, run};

/// Writes the profile file in `home`.
fn write_profiles(home: &Path, text: &str) {
    fs::create_dir_all(home.join(".config/keyctl")).unwrap();
    fs::write(home.join(".config/keyctl/config.toml"), text).unwrap();
}

#[test]
fn a_profile_names_endpoint_and_token() {
    let server = Server::start();
    let home = server.folder();
    let asked = |words: &[&str]| run(keyctl(home).args(words));
    asked(&["--profile", "local", "status"]).with(8).says(".config/keyctl/config.toml cannot be used");
    write_profiles(
        home,
        &format!(
            "default = 'local'\n[profile.local]\nendpoint = 'http://{}'\ntoken_file = '~/data/root.token'\n\
             [profile.elsewhere]\nendpoint = 'http://127.0.0.1:1'\n",
            server.address
        ),
    );
    asked(&["status"]).with(0);
    asked(&["--profile", "local", "status"]).with(0);
    asked(&["--profile", "elsewhere", "status"]).with(6).says("http://127.0.0.1:1");
    asked(&["--profile", "nowhere", "status"]).with(8).says("no profile nowhere").says("elsewhere, local");
    let endpoint = format!("http://{}", server.address);
    asked(&["--profile", "elsewhere", "--endpoint", &endpoint, "--token-file", "data/root.token", "status"]).with(0);
    run(keyctl(home).arg("status").env("KEYCTL_ENDPOINT", "http://127.0.0.1:1")).with(6);
    write_profiles(home, "token = 'secret'\n");
    asked(&["status"]).with(8).says("config.toml").says("docs/keyctl.md");
}

/// Creates a CA and certificates for the server and a client in `folder`.
fn certify(folder: &Path) {
    let openssl = |words: &str| {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().expect("openssl");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    for name in ["server", "client"] {
        openssl(&format!("req {new_key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let signed = format!("-CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names");
        openssl(&format!("x509 -req -in {name}.csr {signed}"));
    }
}

#[test]
fn mutual_tls_is_supported() {
    let server = Server::start_with(|folder| {
        certify(folder);
        [("--tls-cert", "server.pem"), ("--tls-key", "server.key"), ("--client-ca", "ca.pem")]
            .into_iter()
            .flat_map(|(flag, file)| [flag.to_owned(), folder.join(file).display().to_string()])
            .collect()
    });
    let endpoint = format!("https://{}", server.address);
    let asked = |words: &[&str]| {
        run(keyctl(server.folder())
            .args(["--endpoint", &endpoint, "--token-file", "data/root.token", "status"])
            .args(words))
    };
    let identity = ["--client-cert", "client.pem", "--client-key", "client.key"];
    asked(&[&["--ca-file", "ca.pem"], &identity[..]].concat()).with(0);
    asked(&identity).with(6).says("UnknownIssuer").says("next: ");
    asked(&["--ca-file", "ca.pem", "--timeout", "300ms"]).with(6).says("next: ");
    asked(&["--ca-file", "ca.pem", "--client-cert", "client.pem"]).with(2).says("--client-key");
    let plain = format!("http://{}", server.address);
    let plain = ["--endpoint", &plain, "--timeout", "300ms", "--token-file", "data/root.token", "status"];
    run(keyctl(server.folder()).args(plain)).with(6).says("https://");
}

#[test]
fn endpoints_are_understood_as_tools_write_them() {
    let server = Server::start();
    let address = &server.address;
    let asked = |endpoint: &str| {
        run(keyctl(server.folder()).args(["--endpoint", endpoint, "--token-file", "data/root.token", "status"]))
    };
    for endpoint in ["HTTP://", "grpc://", " http://"] {
        asked(&format!("{endpoint}{address}")).with(0);
        asked(&format!("{endpoint}{address}/")).with(0);
    }
    let either = format!("next: use http://{address} for plain text, https://{address} for TLS");
    for endpoint in [address.clone(), format!("dns:///{address}"), format!("dns:{address}"), format!("tcp://{address}")]
    {
        asked(&endpoint).with(2).says("does not begin with http:// or https://").says(&either);
    }
    let url = format!("http://{address}");
    asked(&format!("{url}/v1")).with(2).says("has a path").says(&format!("next: use {url}"));
    let with_password = asked(&format!("http://me:canary@{address}")).with(2).says("was given with a user or password");
    assert!(!with_password.stderr.contains("canary"), "{}", with_password.stderr);
}

#[test]
fn a_byte_order_mark_is_accepted_in_pem_files() {
    let server = Server::start_with(|folder| {
        certify(folder);
        for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
            let pem = fs::read_to_string(folder.join(name)).unwrap();
            fs::write(folder.join(name), format!("\u{feff}{pem}")).unwrap();
        }
        [("--tls-cert", "server.pem"), ("--tls-key", "server.key"), ("--client-ca", "ca.pem")]
            .into_iter()
            .flat_map(|(flag, file)| [flag.to_owned(), folder.join(file).display().to_string()])
            .collect()
    });
    let endpoint = format!("https://{}", server.address);
    let files = ["--ca-file", "ca.pem", "--client-cert", "client.pem", "--client-key", "client.key"];
    let target = ["--endpoint", &endpoint, "--token-file", "data/root.token", "status"];
    run(keyctl(server.folder()).args(target).args(files)).with(0);
}
