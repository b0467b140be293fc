//! The short form of the rig: the attacks on memory, against the server of this build. Latency has no bound here, since
//! a test machine is busy.

#![expect(clippy::panic, reason = "a test that panics has failed")]

use std::process::Command;

/// Runs the attacks, and fails if one of them breaks a bound.
fn run(attacks: &str) {
    let rig = env!("CARGO_BIN_EXE_abuse");
    let output = Command::new(rig).args(["--quick", "--memory-only", "--only", attacks]).output();
    let output = output.unwrap_or_else(|error| panic!("{rig}: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}

#[test]
fn strangers_hold_little_memory() {
    run("reflection-unread,finished-watches,unfinished-watches");
}

#[test]
fn strangers_at_the_door_hold_little_memory() {
    run("door-unread-streams");
}

#[test]
fn callers_that_do_not_read_hold_little_memory() {
    run("batch-unread-1,stream-unread-0,list-unread-0");
}

#[test]
fn nobody_reads_the_log() {
    run("unread-log");
}
