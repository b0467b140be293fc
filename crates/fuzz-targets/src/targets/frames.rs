//! The bodies of raw gRPC calls, in chunks of any size, against a reader of the whole body.

use key_authority_server::testing::untrusted;

use crate::Target;
use crate::input::Input;

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "grpc_frames",
    run,
    seeds,
    dictionary: &[b"\0\0\0\0\0", b"\0\0\0\0\x01", b"\x01\0\0\0\0", b"\0\xff\xff\xff\xff", b"\0\0\0\0\x40"],
    memory: (65_536, 128),
};

/// The largest message of the calls.
const MESSAGE_BYTES_MAX: usize = 64;
const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const OUT_OF_RANGE: i32 = 11;

/// Splits a whole body into messages: they and the code after them, as gRPC's framing has it.
fn messages(mut body: &[u8]) -> (Vec<&[u8]>, i32) {
    let mut messages = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        if *flag != 0 {
            return (messages, INVALID_ARGUMENT);
        }
        if len > MESSAGE_BYTES_MAX {
            return (messages, OUT_OF_RANGE);
        }
        let Some((message, rest)) = rest.split_at_checked(len) else { return (messages, INVALID_ARGUMENT) };
        messages.push(message);
        body = rest;
    }
    (messages, if body.is_empty() { OK } else { INVALID_ARGUMENT })
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let one = |message: &&[u8]| [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(u8::MAX)], *message].concat();
    messages.iter().flat_map(one).collect()
}

/// Splits an input into the chunks of a body: each begins with its length.
fn chunks(input: &[u8]) -> Vec<Vec<u8>> {
    let mut input = Input::new(input);
    let mut chunks = Vec::new();
    while !input.is_empty() {
        let len = usize::from(input.byte());
        chunks.push(input.take(len).to_vec());
    }
    chunks
}

fn run(input: &[u8]) {
    let chunks = chunks(input);
    let body = chunks.concat();
    let (expected, code) = messages(&body);
    assert_eq!(untrusted::stream_body(chunks.clone(), MESSAGE_BYTES_MAX), (framed(&expected), code), "stream");

    // A unary body is one message; the first error decides, and data after the message is one.
    let unary = match &expected[..] {
        [message] if code == OK => Ok(framed(&[message])),
        [] if code != OK => Err(code),
        _ => Err(INVALID_ARGUMENT),
    };
    assert_eq!(untrusted::unary_body(chunks, MESSAGE_BYTES_MAX), unary, "unary");
}

fn seeds() -> Vec<Vec<u8>> {
    let longest = [7; MESSAGE_BYTES_MAX];
    let bodies = [
        framed(&[]),
        framed(&[b""]),
        framed(&[b"one"]),
        framed(&[b"one", b"", b"three"]),
        framed(&[&longest]),
        framed(&[&b"twice"[..]; 70]),
        b"\0\0\0\0\x41".to_vec(),
        b"\x01\0\0\0\x01x".to_vec(),
        b"\0\xff\xff\xff\xffx".to_vec(),
        b"\0\0\0\0\x05four".to_vec(),
        [framed(&[b"one"]), b"\0".to_vec()].concat(),
        [framed(&[b"one"]), b"\x02\0\0\0\0".to_vec()].concat(),
    ];
    let chunked = |body: &Vec<u8>, len: usize, is_interrupted: bool| {
        let chunk = |chunk: &[u8]| {
            let pause: &[u8] = if is_interrupted { &[0] } else { &[] };
            [&[u8::try_from(chunk.len()).unwrap_or(u8::MAX)], chunk, pause].concat()
        };
        body.chunks(len).flat_map(chunk).collect::<Vec<u8>>()
    };
    bodies
        .iter()
        .flat_map(|body| [chunked(body, 255, false), chunked(body, 1, true), chunked(body, 7, false)])
        .collect()
}
