//! The lines of the log. With `--log-format json`, standard error has JSON lines only, also for failed starts.

use key_authority_proto::v1::ListKeysRequest;
use serde_json::Value;

use crate::support::process::{Ended, program, run};
use crate::support::{Authority, eventually, on_sqlite, subcommand};

/// The lines of standard error, each of which must be an object with a level, a time and a message.
#[track_caller]
fn lines(ended: &Ended) -> Vec<Value> {
    let parse = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(["timestamp", "level", "message"].iter().all(|field| object[field].is_string()), "{line}");
        object
    };
    let lines: Vec<_> = ended.stderr.lines().map(parse).collect();
    assert!(!lines.is_empty());
    lines
}

#[tokio::test]
async fn a_start_that_fails_is_logged_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().display().to_string();
    let serve = ["--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let fails = ["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    let ended = subcommand(serve.iter().chain(&fails).chain(&["--log-format=json"])).await.badly();
    let lines = lines(&ended);
    let last = lines.last().unwrap();
    assert_eq!((&last["level"], &last["message"]), (&"ERROR".into(), &"command failed".into()));
    let error = last["error"].as_str().unwrap();
    assert_eq!(error, "--tls-cert /nowhere/cert.pem: cannot be read: No such file or directory (os error 2)");
}

#[tokio::test]
async fn invalid_settings_and_arguments_are_logged_as_json() {
    for command in ["serve", "check-config", "migrate"] {
        let wrong = ["--listen", "nowhere", "--lease", "1s", "--log", "loud"];
        let ended = subcommand([command, "--log-format", "json"].iter().chain(&wrong)).await.badly();
        let lines = lines(&ended);
        for flag in ["--listen", "--lease", "--log"] {
            let is_named = |line: &Value| line["error"].as_str().is_some_and(|error| error.starts_with(flag));
            assert!(lines.iter().any(is_named), "{command} {flag}: {}", ended.stderr);
        }
    }
    let ended = subcommand(["serve", "--log-format", "json", "--lisen", "127.0.0.1:0"]).await.badly();
    assert_eq!(ended.status.code(), Some(2));
    assert!(lines(&ended)[0]["error"].as_str().unwrap().contains("--lisen"));

    // By the variable, also for commands that have no such flag.
    for (words, variable) in [(&["serve"][..], "KEY_AUTHORITY_LISEN"), (&["healthcheck", "--timeout", "1"], "UNUSED")] {
        let mut command = program();
        command.args(words).env("KEY_AUTHORITY_LOG_FORMAT", "json").env(variable, "127.0.0.1:0");
        lines(&run(command).await.badly());
    }
}

/// With too few open files, the runtime cannot start. With some limits it returns an error, with others it panics.
#[tokio::test]
async fn a_panic_before_logs_are_set_up_is_logged_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Vec::new();
    for files in 4..10 {
        let mut command = tokio::process::Command::new("prlimit");
        command.arg(format!("--nofile={files}")).arg(env!("CARGO_BIN_EXE_key-authority"));
        command.args(["migrate", "--log-format", "json", "--data-dir"]).arg(folder.path());
        let ended = run(command).await;
        assert!(!ended.status.success(), "{files} files are enough");
        messages.extend(lines(&ended).iter().map(|line| line["message"].as_str().unwrap().to_owned()));
    }
    assert!(["task panicked", "command failed"].iter().all(|message| messages.iter().any(|found| found == message)));
}

async fn a_refused_call_is_logged_with_its_actor_and_its_peer(authority: Authority) {
    let (caller, client) = authority.new_caller(&["verify"], None).await;
    client.list_keys(ListKeysRequest::default()).await.unwrap_err();
    let line = eventually("the refused call is logged", async || {
        authority.output().lines().find(|line| line.contains("admin call refused")).map(str::to_owned)
    })
    .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["actor"], &line["peer"]), (&caller.id().into(), &"127.0.0.1".into()));
}

on_sqlite! {
    a_refused_call_is_logged_with_its_actor_and_its_peer,
}
