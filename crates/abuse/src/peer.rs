//! An HTTP/2 client with settings of the attacker's choice. It answers PINGs, so that it looks alive.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::answers::{Answers, Pending, of_h2, of_headers};
use crate::stage::Stage;

/// The address of an attacker with one address. The good client, the probes and the operator have others.
pub(crate) const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// How long a connection attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One of 250 addresses of attackers.
pub(crate) fn one_of_many(number: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 2, u8::try_from(number % 250).unwrap_or_default() + 1).into()
}

/// Connects from an address of the attacker's choice.
pub(crate) async fn connect(to: SocketAddr, from: IpAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("no socket is left")?;
    socket.bind(SocketAddr::new(from, 0)).with_context(|| format!("cannot bind {from}"))?;
    let stream = timeout(CONNECT_LIMIT, socket.connect(to)).await.context("no connection in time")?;
    let stream = stream.with_context(|| format!("cannot connect to {to}"))?;
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    Ok(stream)
}

/// A connection.
pub(crate) struct Peer {
    send: SendRequest<Bytes>,
    authority: String,
    headers: HeaderMap,
    answers: Answers,
}

impl Peer {
    /// Connects with this `INITIAL_WINDOW_SIZE`. With 0, the server can send headers and no data.
    pub(crate) async fn open(stage: &Stage, window: u32, token: Option<&str>) -> Result<Self> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let headers = headers.into_iter().chain(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        Self::open_to(stage, stage.grpc, ATTACKER, window, headers).await
    }

    /// Connects to the HTTP door. All requests have these headers.
    pub(crate) async fn open_door(stage: &Stage, from: IpAddr, window: u32, headers: &[(&str, &str)]) -> Result<Self> {
        Self::open_to(stage, stage.door, from, window, headers.iter().copied()).await
    }

    async fn open_to(
        stage: &Stage,
        to: SocketAddr,
        from: IpAddr,
        window: u32,
        headers: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<Self> {
        let socket = connect(to, from).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(1 << 30).enable_push(false);
        // The window of the connection is large: the window of each stream is what holds the server back.
        let (send, connection) = builder.handshake::<_, Bytes>(socket).await.context("HTTP/2 handshake failed")?;
        // Every open call gets the error of the connection.
        tokio::spawn(async { drop(connection.await) });
        let headers = headers.into_iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).context("invalid header")?;
            anyhow::Ok((name, HeaderValue::try_from(value).context("invalid header")?))
        });
        let headers = headers.collect::<Result<HeaderMap>>()?;
        Ok(Self { send, authority: to.to_string(), headers, answers: stage.answers.clone() })
    }

    /// Opens a call.
    pub(crate) async fn call(&mut self, path: &str) -> Result<(SendStream<Bytes>, Answer)> {
        self.request(Method::POST, path, false).await
    }

    /// Sends a `GET`, and counts the answer whenever it comes.
    pub(crate) async fn get(&mut self, path: &str) -> Result<SendStream<Bytes>> {
        let (sender, answer) = self.request(Method::GET, path, true).await?;
        tokio::spawn(answer.count());
        Ok(sender)
    }

    async fn request(&mut self, method: Method, path: &str, is_end: bool) -> Result<(SendStream<Bytes>, Answer)> {
        poll_fn(|context| self.send.poll_ready(context)).await.map_err(|error| self.refused(&error))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{}{path}", self.authority).parse().context("invalid path")?;
        self.headers.clone_into(request.headers_mut());
        let (response, sender) = self.send.send_request(request, is_end).map_err(|error| self.refused(&error))?;
        Ok((sender, Answer { response, pending: self.answers.expect() }))
    }

    /// Opens a call, sends `message`, ends the request if `is_end`, and counts the answer whenever it comes.
    pub(crate) async fn send(&mut self, path: &str, message: Bytes, is_end: bool) -> Result<SendStream<Bytes>> {
        let (mut sender, answer) = self.call(path).await?;
        // An error here is also the error of the answer.
        let _ = sender.send_data(message, is_end);
        tokio::spawn(answer.count());
        Ok(sender)
    }

    fn refused(&self, error: &h2::Error) -> anyhow::Error {
        self.answers.count(of_h2(error));
        anyhow::anyhow!("cannot open a call: {error}")
    }
}

/// An answer that is awaited.
pub(crate) struct Answer {
    response: ResponseFuture,
    pending: Pending,
}

impl Answer {
    /// Waits for the end of the answer without releasing any window, and counts it.
    pub(crate) async fn count(self) {
        let text = match read(self.response, false).await {
            Ok((text, _)) => text,
            Err(error) => of_h2(&error),
        };
        self.pending.answered(text);
    }

    /// Reads the whole answer, counts it, and returns its status and its body.
    pub(crate) async fn read(self) -> (String, Vec<u8>) {
        let (text, body) = read(self.response, true).await.unwrap_or_else(|error| (of_h2(&error), Vec::new()));
        self.pending.answered(text.clone());
        (text, body)
    }

    /// Reads the whole answer and forgets it, and counts it.
    pub(crate) async fn skip(self) {
        let Ok((mut body, pending)) = self.body().await else { return };
        let answer = loop {
            match body.data().await {
                Some(Ok(chunk)) => drop(body.flow_control().release_capacity(chunk.len())),
                Some(Err(error)) => break of_h2(&error),
                None => {
                    let trailers = body.trailers().await.ok().flatten();
                    break trailers.as_ref().and_then(of_headers).unwrap_or_else(|| "no status".to_owned());
                }
            }
        };
        pending.answered(answer);
    }

    /// Returns the body of the answer as it comes, and what counts the answer.
    pub(crate) async fn body(self) -> Result<(RecvStream, Pending), String> {
        match self.response.await {
            Ok(response) => match of_headers(response.headers()) {
                Some(text) => {
                    self.pending.answered(text.clone());
                    Err(text)
                }
                None => Ok((response.into_body(), self.pending)),
            },
            Err(error) => {
                self.pending.answered(of_h2(&error));
                Err(of_h2(&error))
            }
        }
    }
}

async fn read(response: ResponseFuture, is_reading: bool) -> Result<(String, Vec<u8>), h2::Error> {
    let response = response.await?;
    if let Some(text) = of_headers(response.headers()) {
        return Ok((text, Vec::new()));
    }
    let http_status = response.status();
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        if is_reading {
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
    }
    let trailers = body.trailers().await?;
    let text = trailers.as_ref().and_then(of_headers).unwrap_or_else(|| format!("HTTP {http_status}"));
    Ok((text, bytes))
}

/// Sends all of `data` as the peer's window permits.
pub(crate) async fn send_all(sender: &mut SendStream<Bytes>, mut data: Bytes) -> Result<()> {
    while !data.is_empty() {
        sender.reserve_capacity(data.len());
        let room = poll_fn(|context| sender.poll_capacity(context)).await.context("the call has ended")??;
        if room == 0 {
            tokio::task::yield_now().await;
            continue;
        }
        sender.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}
