//! Signals: what asks for an end gets one that loses no use, what asks for files gets them read, the rest changes nothing.

use std::os::unix::process::ExitStatusExt as _;

use key_authority_proto::v1::*;
use rustix::process::Signal;

use crate::support::client::{NewKey, key_for};
use crate::support::{Authority, Database, Setup, eventually, on_sqlite};

const USES: u64 = 50;

/// Uses a new key, so that its uses are only in memory or about to be written.
async fn used_key(authority: &Authority) -> NewKey {
    let client = authority.client();
    let key = client.new_key(key_for("acme")).await;
    for _ in 0..USES {
        assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    }
    key
}

async fn every_signal_that_ends_it_leaves_all_uses_behind(mut authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    // The first real-time signal, the one of container engines, and the last.
    for number in ["34", "37", "64"] {
        let key = used_key(&authority).await;
        let sent =
            std::process::Command::new("kill").args([&format!("-{number}"), &authority.pid().to_string()]).status();
        assert!(sent.unwrap().success());
        let status = authority.wait().await;
        assert_eq!((status.code(), status.signal()), (Some(0), None), "signal {number}");
        authority.restart().await;
        assert_eq!(authority.client().key(&key.id()).await.use_count, USES, "signal {number}");
    }
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::XCPU, Signal::POWER] {
        let key = used_key(&authority).await;
        authority.signal(signal);
        let status = authority.wait().await;
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal:?}");
        authority.restart().await;
        assert_eq!(authority.client().key(&key.id()).await.use_count, USES, "{signal:?}");
    }
}

/// The first signal begins a delay that is longer than the test has patience for, unless the second ends it.
async fn a_second_signal_ends_the_waiting_and_loses_no_use(database: Database) {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let setup = Setup::on(database).flags(["--shutdown-delay", "8s", "--drain-timeout", "0s"]);
        let mut authority = setup.start().await;
        authority.client().new_account("acme", KeyPolicy::default()).await;
        authority.signal(Signal::TERM);
        eventually("the shutdown begins", async || authority.output().contains("shutting down").then_some(())).await;
        // It still serves during the delay.
        let key = used_key(&authority).await;
        authority.signal(second);
        let status = authority.wait().await;
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{second:?}");
        authority.restart().await;
        assert_eq!(authority.client().key(&key.id()).await.use_count, USES, "{second:?}");
    }
}

async fn other_signals_leave_it_serving(mut authority: Authority) {
    let ignored = [
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::XFSZ,
        Signal::PIPE,
        Signal::WINCH,
    ];
    for signal in ignored {
        authority.signal(signal);
        // A process that a signal ended does not answer.
        let root_token = authority.root_token();
        assert_eq!(authority.client().caller_verdict(&root_token).await, Verdict::Valid, "{signal:?}");
    }
    let logged = |words: &str| authority.output().contains(words);
    eventually("SIGUSR2 is logged", async || logged(r#""signal":"SIGUSR2""#).then_some(())).await;
    let nothing = "SIGHUP received; without TLS there is nothing to read again";
    eventually("SIGHUP is logged", async || logged(nothing).then_some(())).await;
    assert!(authority.stop().await.success());
}

on_sqlite! {
    every_signal_that_ends_it_leaves_all_uses_behind,
    a_second_signal_ends_the_waiting_and_loses_no_use,
    other_signals_leave_it_serving,
}
