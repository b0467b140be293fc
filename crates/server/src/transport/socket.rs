//! Listening sockets, and what the kernel buffers for each of their connections.
//!
//! The kernel's buffers are memory that a peer can make us hold, too: of responses that it does not read, and of
//! requests that wait. By default, they grow to some MiB for each connection, and count against the memory limit of a
//! container but not as memory of the process. Buffers of a fixed size do not grow.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// The size of the kernel's buffer for each direction of a connection. The kernel doubles it for its own bookkeeping.
/// On a network with a round trip of 1 ms, this is some 100 MB/s.
const SOCKET_BUFFER_SIZE: u32 = 128 * 1024;
/// The number of connections that may wait until they are accepted; the kernel has a lower limit of its own.
const BACKLOG: u32 = 1024;

/// Binds `address` and listens. Port 0 lets the system choose.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart binds the port while connections of the last process still wait for their last packets.
    socket.set_reuseaddr(true)?;
    // Connections inherit these sizes. The size for receiving also limits the window that a peer is offered from its
    // first packet on, so both must be set before the socket listens.
    socket.set_send_buffer_size(SOCKET_BUFFER_SIZE)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_SIZE)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};

    /// The buffer of a client that does not read, which is as small as the kernel allows.
    const SMALL: u32 = 4096;
    /// What both buffers of one direction have room for.
    const BUFFERED_MAX: usize = 3 * SOCKET_BUFFER_SIZE as usize;

    #[tokio::test]
    async fn the_kernel_holds_little_for_a_connection() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(SMALL).unwrap();
        let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let sizes = [socket_send_buffer_size(&accepted), socket_recv_buffer_size(&accepted)];
        assert_eq!(sizes.map(Result::unwrap), [2 * SOCKET_BUFFER_SIZE as usize; 2], "Linux doubles what is set");
        accepted.writable().await.unwrap();
        let (block, mut sent) = (vec![0; 64 * 1024], 0);
        while let Ok(count) = accepted.try_write(&block) {
            sent += count;
        }
        assert!((SMALL as usize..=BUFFERED_MAX).contains(&sent), "{sent} bytes");
    }
}
