//! Lost responses and interrupted commands.

use std::process::Stdio;

use rustix::process::{Signal, kill_process};

use crate::support::{Ended, Keyctl, Link, Terminal, run};

#[test]
fn a_change_whose_response_is_lost_is_applied_once() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let link = Link::to(&keyctl.server.address, true);
    let endpoint = format!("http://{}", link.address);
    let ended = keyctl.run(&["--endpoint", &endpoint, "keys", "disable", "ci"]).with(0);
    assert!(ended.stdout.contains("disabled"), "{}", ended.stdout);
    ended.says("retrying").says("confirmed by 1 replica");
    let audit = keyctl.run(&["audit", "--action", "disable-key", "-o", "json"]).json();
    assert_eq!(audit["events"].as_array().map(Vec::len), Some(1), "{audit}");
    assert!(audit["events"][0]["requestId"].as_str().unwrap().starts_with("keyctl-"), "{audit}");
}

#[test]
fn a_token_whose_response_is_lost_is_reported_as_lost() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let link = Link::to(&keyctl.server.address, true);
    let endpoint = format!("http://{}", link.address);
    let create = ["--endpoint", &endpoint, "keys", "create", "acme", "--key-id", "second", "--save", "key.txt"];
    keyctl.run(&create).with(6).says("key second has a new token, but it is lost").says("keyctl keys renew second");
    assert!(!keyctl.file("key.txt").exists());
    keyctl.done(&["keys", "renew", "second", "--save", "key.txt"]);
}

#[test]
fn a_missing_response_times_out() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let link = Link::to(&keyctl.server.address, false);
    let endpoint = format!("http://{}", link.address);
    let slow = ["--endpoint", &endpoint, "--timeout", "300ms", "keys", "disable", "ci"];
    keyctl.run(&slow).with(6).says("the change may have been made: check with keyctl audit");
}

#[test]
fn an_interrupt_ends_the_command_and_removes_its_file() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let link = Link::to(&keyctl.server.address, false);
    let endpoint = format!("http://{}", link.address);
    let mut command = keyctl.command(&["--endpoint", &endpoint, "keys", "renew", "ci", "--save", "key.txt"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    link.answered.recv().unwrap();
    assert!(keyctl.file("key.txt").exists());
    kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    ended.with(130).says("interrupted; a change in progress may have been made").says("keyctl audit");
    assert!(!keyctl.file("key.txt").exists());
}

#[test]
fn a_question_can_be_interrupted() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    for (words, question) in [(&["keys", "delete", "ci"][..], "[y/N] "), (&["verify", "-"], "Token: ")] {
        let mut terminal = Terminal::start(&mut keyctl.command(words));
        terminal.await_shown(question);
        kill_process(terminal.pid(), Signal::INT).unwrap();
        let (status, shown) = terminal.ended();
        assert_eq!(status.code(), Some(130), "{shown}");
    }
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
}

#[test]
fn a_wait_can_be_resumed() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    run(&mut keyctl.command(&["status", "--wait-for", "1"])).with(0).says("revision").says("confirmed by 1 replica");
    keyctl.run(&["status", "--wait-for", "1000"]).with(2).says("revision");
}
