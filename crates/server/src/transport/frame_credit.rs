//! A limit on the frames that cost the server work and carry no call: `SETTINGS`, `PING`, `PRIORITY`, `WINDOW_UPDATE`,
//! `RST_STREAM`, empty `DATA`, and unknown types. h2 answers or applies each of them, as many as the peer sends; of
//! empty `DATA` it takes no more than 100.
//!
//! A connection has a credit. Each such frame takes one from it; requests and time give some back. So the frames that
//! clients send for their calls and keepalives are never counted out, and a flood ends after a moment.

use std::time::Duration;

use key_authority_replica::clock::Boottime;

/// The length of a frame's header (RFC 9113, 4.1).
const HEADER: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

/// The maximum credit, which a new connection has.
const CREDIT_MAX: u32 = 10_000;
/// What a `HEADERS` or `DATA` frame gives. For each call, clients send up to two `WINDOW_UPDATE`s, a `PING` that
/// measures the bandwidth, and its acknowledgements.
const CREDIT_PER_REQUEST: u32 = 4;
/// The credit that an idle connection gains in each of these.
const GAIN_INTERVAL: Duration = Duration::from_millis(100);

/// The credit of a connection, and the position of its reader between two frames.
#[derive(Debug)]
pub(super) struct FrameCredit {
    credit: u32,
    gained_at: Boottime,
    now: fn() -> Boottime,
    header: [u8; HEADER],
    header_len: usize,
    /// The bytes of the current frame's payload that have not arrived.
    payload_left: usize,
}

/// The peer has sent too many frames that carry no call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl FrameCredit {
    pub(super) fn new(now: fn() -> Boottime) -> Self {
        Self { credit: CREDIT_MAX, gained_at: now(), now, header: [0; HEADER], header_len: 0, payload_left: 0 }
    }

    /// Counts the frames that begin in the next `bytes` of the connection.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            let payload = self.payload_left.min(bytes.len());
            self.payload_left -= payload;
            bytes = bytes.get(payload..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            let (_, room) = self.header.split_at_mut(self.header_len);
            let (part, rest) = bytes.split_at(room.len().min(bytes.len()));
            for (to, from) in room.iter_mut().zip(part) {
                *to = *from;
            }
            self.header_len += part.len();
            bytes = rest;
            if self.header_len == HEADER {
                self.header_len = 0;
                self.count()?;
            }
        }
    }

    fn count(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            HEADERS => self.gain(CREDIT_PER_REQUEST),
            DATA if length > 0 => self.gain(CREDIT_PER_REQUEST),
            // h2 limits those of a header block.
            CONTINUATION => {}
            _ if self.credit > 0 => self.credit -= 1,
            _ => {
                let now = (self.now)();
                let intervals = now.since(self.gained_at).as_millis() / GAIN_INTERVAL.as_millis();
                self.gained_at = now;
                self.gain(u32::try_from(intervals).unwrap_or(u32::MAX));
                self.credit = self.credit.checked_sub(1).ok_or(Flood)?;
            }
        }
        Ok(())
    }

    fn gain(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const PING: [u8; HEADER + 8] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const EMPTY_DATA: [u8; HEADER] = [0, 0, 0, DATA, 0, 0, 0, 0, 1];
    const EMPTY_HEADERS: [u8; HEADER] = [0, 0, 0, HEADERS, 0, 0, 0, 0, 1];

    thread_local! {
        static NOW: Cell<Boottime> = const { Cell::new(Boottime(0)) };
    }

    fn credit() -> FrameCredit {
        FrameCredit::new(|| NOW.get())
    }

    fn flood(frame: &[u8], chunk: usize) -> usize {
        let mut credit = credit();
        let bytes = frame.repeat(CREDIT_MAX as usize + 10);
        let read = bytes.chunks(chunk).take_while(|bytes| credit.read(bytes).is_ok()).count();
        read * chunk / frame.len()
    }

    #[test]
    fn a_flood_ends_however_its_bytes_arrive() {
        for frame in [&PING[..], &EMPTY_DATA] {
            for chunk in [1, 7, frame.len()] {
                assert_eq!(flood(frame, chunk), CREDIT_MAX as usize, "{chunk}");
            }
        }
    }

    #[test]
    fn calls_give_credit_back() {
        let mut credit = credit();
        for _ in 0..CREDIT_MAX {
            for frame in [&EMPTY_HEADERS[..], &PING, &PING, &PING] {
                assert_eq!(credit.read(frame), Ok(()));
            }
        }
    }

    #[test]
    fn time_gives_credit_back() {
        let mut credit = credit();
        assert_eq!(credit.read(&PING.repeat(CREDIT_MAX as usize)), Ok(()));
        NOW.set(Boottime(0).after(GAIN_INTERVAL * 5));
        assert_eq!(credit.read(&PING.repeat(5)), Ok(()));
        assert_eq!(credit.read(&PING), Err(Flood));
    }

    #[test]
    fn the_bytes_of_a_message_are_no_frames() {
        let mut credit = credit();
        let payload: Vec<u8> = PING.iter().copied().cycle().take(0x4000).collect();
        let message = [&[0, 0x40, 0, DATA, 0, 0, 0, 0, 1][..], &payload].concat();
        for _ in 0..100 {
            assert_eq!(credit.read(&message), Ok(()));
        }
        assert_eq!(credit.credit, CREDIT_MAX);
    }
}
