//! A link to a server whose first connection brings no answers.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A link to a server. What is asked over its first connection arrives and is answered, but the answer stays on the way.
pub(crate) struct Link {
    pub(crate) address: String,
    /// Tells when the first answer of the server came, which the link keeps.
    pub(crate) answered: Receiver<()>,
}

impl Link {
    /// With `is_cut` the first connection ends when its answer comes; later ones carry everything. Without, it stays open.
    pub(crate) fn to(server: &str, is_cut: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, answered) = channel();
        let server = server.to_owned();
        thread::spawn(move || {
            for (number, near) in listener.incoming().enumerate() {
                let (near, far) = (near.unwrap(), TcpStream::connect(&server).unwrap());
                carry(near.try_clone().unwrap(), far.try_clone().unwrap());
                if number == 0 {
                    let sender = sender.clone();
                    thread::spawn(move || {
                        if answer_begins(&far).is_ok() {
                            let _ = sender.send(());
                        }
                        if is_cut {
                            let _ = near.shutdown(Shutdown::Both);
                        } else {
                            // Held open until the caller is gone.
                            let _ = near.peek(&mut [0]);
                            let _ = std::io::copy(&mut &far, &mut std::io::sink());
                        }
                    });
                } else {
                    carry(far, near);
                }
            }
        });
        Self { address, answered }
    }
}

/// Carries all that comes from one to the other, until either ends.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.flush();
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// Reads HTTP/2 frames until the headers of an answer.
fn answer_begins(mut server: impl Read) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    loop {
        let mut head = [0; 9];
        server.read_exact(&mut head)?;
        let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
        std::io::copy(&mut (&mut server).take(length), &mut std::io::sink())?;
        if head[3] == HEADERS {
            return Ok(());
        }
    }
}
