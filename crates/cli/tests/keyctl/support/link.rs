//! A proxy that drops the responses of the first connection.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A proxy to a server. Requests on its first connection reach the server, but their responses are dropped.
pub(crate) struct Link {
    pub(crate) address: String,
    /// Receives a message when the server has answered on the first connection.
    pub(crate) answered: Receiver<()>,
}

impl Link {
    /// With `is_cut`, the first connection is closed when the server answers, and later ones forward everything.
    /// Otherwise it stays open.
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
                            // Kept open until the client disconnects.
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

/// Forwards data from one side to the other until either closes.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.flush();
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// Reads HTTP/2 frames until the headers of a response.
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
