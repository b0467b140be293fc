//! What `deploy/`, the compose file and the Dockerfile tell the server is what the server knows.
//!
//! `scripts/check-deploy` renders them; here each case's variables go to `key-authority check-config`, with files of ours in
//! place of the mounted ones, and nothing may be wrong.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "clients/server.rs"]
#[expect(dead_code, reason = "what is started here does not serve")]
mod server;

use key_authority_server::testing::Cli;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::CommandFactory as _;
use serde_json::Value;
use server::{tools, workspace};

/// Variables by name; one that comes from a Secret has no value here.
type Variables = BTreeMap<String, Option<String>>;

const DATABASE_URL: &str = "postgres://user:password@database.example/keys";

fn rendered() -> BTreeMap<String, Variables> {
    let script = workspace().join("scripts/check-deploy");
    let run = Command::new(tools().join("python")).arg(script).arg("--settings").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// Every variable that some flag reads.
fn known_names() -> BTreeSet<String> {
    fn collect(command: &clap::Command, names: &mut BTreeSet<String>) {
        names.extend(
            command.get_arguments().filter_map(clap::Arg::get_env).map(|name| name.to_str().unwrap().to_owned()),
        );
        command.get_subcommands().for_each(|subcommand| collect(subcommand, names));
    }
    let mut names = BTreeSet::new();
    collect(&Cli::command(), &mut names);
    names
}

fn key_authority(arguments: &[&str], variables: &BTreeMap<String, String>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_key-authority")).args(arguments).env_clear().envs(variables).output().unwrap()
}

/// The files that a deployment mounts, each under the variable that names it.
fn mounted(folder: &Path) -> BTreeMap<&'static str, PathBuf> {
    let printed = |subcommand| String::from_utf8(key_authority(&[subcommand], &BTreeMap::new()).stdout).unwrap();
    let written = |name: &str, content: &str| {
        let file = folder.join(name);
        std::fs::write(&file, content).unwrap();
        file
    };
    let certs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transport_certs");
    BTreeMap::from([
        ("KEY_AUTHORITY_DATABASE_URL_FILE", written("database-url", DATABASE_URL)),
        ("KEY_AUTHORITY_SECRET_FILE", written("authority-secret", &printed("generate-secret"))),
        ("KEY_AUTHORITY_BOOTSTRAP_TOKEN_FILE", written("root-token", &printed("generate-token"))),
        ("KEY_AUTHORITY_TLS_CERT", certs.join("first.pem")),
        ("KEY_AUTHORITY_TLS_KEY", certs.join("first.key")),
        ("KEY_AUTHORITY_CLIENT_CA", certs.join("first.pem")),
        ("KEY_AUTHORITY_DATA_DIR", folder.join("data")),
    ])
}

/// What `check-config` says of these variables.
fn check(variables: &Variables, mounted: &BTreeMap<&str, PathBuf>) -> Result<(), String> {
    let mut given = BTreeMap::new();
    for (name, value) in variables {
        let value = match value {
            None => DATABASE_URL.to_owned(),
            Some(path) if path.starts_with('/') => {
                let file =
                    mounted.get(name.as_str()).ok_or_else(|| format!("{name} names a file that nothing mounts"))?;
                file.display().to_string()
            }
            Some(value) => value.clone(),
        };
        given.insert(name.clone(), value);
    }
    let run = key_authority(&["check-config"], &given);
    if run.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&run.stderr).into_owned()) }
}

#[test]
fn check_config_accepts_what_every_deployment_sets() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = mounted(folder.path());
    let cases = rendered();
    for kind in ["Dockerfile", "docker-compose.yml ", "kubernetes/", "helm/"] {
        assert!(cases.keys().any(|case| case.starts_with(kind)), "no case of {kind}");
    }
    for (case, variables) in &cases {
        assert_eq!(check(variables, &mounted), Ok(()), "{case}");
    }

    // And would notice what is wrong.
    let postgres = &cases["kubernetes/postgres"];
    for (name, value, fault) in [
        ("KEY_AUTHORITY_LEESE", "10s", "KEY_AUTHORITY_LEESE is not a setting"),
        ("KEY_AUTHORITY_LEASE", "10", "lease"),
        ("KEY_AUTHORITY_DRAIN_TIMEOUT", "7s", "drain-timeout"),
        ("KEY_AUTHORITY_HTTP_LISTEN", "0.0.0.0:50052", "must differ from --http-listen"),
    ] {
        let mut wrong = postgres.clone();
        wrong.insert(name.to_owned(), Some(value.to_owned()));
        let said = check(&wrong, &mounted).unwrap_err();
        assert!(said.contains(fault), "{name}: {said}");
    }
}

/// A setting of the chart is a variable of the server; what the chart sets by itself is not to be set twice.
#[test]
fn the_chart_takes_every_setting_that_it_does_not_make_itself() {
    let schema = std::fs::read_to_string(workspace().join("deploy/helm/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let names = &schema["properties"]["settings"]["propertyNames"]["enum"];
    let taken: BTreeSet<String> =
        names.as_array().unwrap().iter().map(|name| format!("KEY_AUTHORITY_{}", name.as_str().unwrap())).collect();
    // In the URL of a database is a password, which belongs into a file; and the image's working folder makes the default
    // data folder the one that is mounted.
    let mut made = BTreeSet::from(["KEY_AUTHORITY_DATABASE_URL", "KEY_AUTHORITY_DATA_DIR"].map(str::to_owned));
    for (case, variables) in rendered() {
        if case.starts_with("helm/") || case == "Dockerfile" {
            made.extend(
                variables.into_keys().filter(|name| name.starts_with("KEY_AUTHORITY_") && !taken.contains(name)),
            );
        }
    }
    assert_eq!(&taken | &made, known_names());
}

#[test]
fn every_variable_that_a_text_names_is_one_that_the_server_reads() {
    let known = known_names();
    let mut unknown = Vec::new();
    let mut seen = BTreeSet::new();
    for file in texts(&workspace()) {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')) {
            // `KEY_AUTHORITY_` alone is the prefix being spoken of.
            if !word.starts_with("KEY_AUTHORITY_") || word == "KEY_AUTHORITY_" {
                continue;
            }
            seen.insert(word.to_owned());
            if !known.contains(word) {
                unknown.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert_eq!(unknown, [""; 0]);
    assert!(seen.len() > 10, "the texts were not found: {seen:?}");
}

/// What is written for operators.
fn texts(workspace: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        ["README.md", "Dockerfile", "docker-compose.yml"].iter().map(|name| workspace.join(name)).collect();
    let mut folders = vec![workspace.join("deploy"), workspace.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // The secrets of somebody who tries the compose file.
            if path.is_dir() && !path.ends_with("deploy/compose/secrets") {
                folders.push(path);
            } else if path.is_file() && path.extension().is_none_or(|extension| extension != "png") {
                files.push(path);
            }
        }
    }
    files
}
