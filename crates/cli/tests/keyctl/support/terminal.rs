//! A pseudo-terminal for tests.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// A program on a pseudo-terminal.
pub(crate) struct Terminal {
    screen: File,
    child: Child,
    shown: String,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let screen = openpt(flags).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let far: OwnedFd = ioctl_tiocgptpeer(&screen, flags).unwrap();
        command.env("TERM", "xterm-256color");
        let copy = || far.try_clone().unwrap();
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        // The command holds copies of the slave side, which would keep the terminal open.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Self { screen: screen.into(), child, shown: String::new() }
    }

    /// Reads until the output contains `text`.
    pub(crate) fn await_shown(&mut self, text: &str) {
        while !self.shown.contains(text) {
            assert!(self.read(), "it ended without {text:?}:\n{}", self.shown);
        }
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Waits for the end. Returns the status and the whole output.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        while self.read() {}
        (self.child.wait().unwrap(), self.shown)
    }

    /// Reads more output. Returns false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // A closed terminal returns an error.
        let Ok(count @ 1..) = self.screen.read(&mut buffer) else { return false };
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..count]).replace('\r', ""));
        true
    }
}
