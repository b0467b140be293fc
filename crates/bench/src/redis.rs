//! Redis, as it comes from Debian: a private one, as many keys as ours, values of 64 bytes, asked by GET.

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::load::{self, Measured, Tally};
use crate::process::{Process, command};
use crate::trouble::{Attempt as _, Trouble};

const START_LIMIT: Duration = Duration::from_mins(1);
/// The length of each value, and of the reply that brings it: its length, itself, and the ends of two lines.
const VALUE: usize = 64;
const REPLY: usize = "$64\r\n".len() + VALUE + "\r\n".len();

/// A running Redis. Dropping it kills it; it keeps nothing on the disk.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
    address: String,
    keys: u64,
}

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetPlan {
    pub(crate) connections: usize,
    /// Commands that are written at once, before their answers are awaited.
    pub(crate) depth: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

impl Redis {
    /// Starts one with `keys` keys.
    pub(crate) async fn start(keys: u64, work: &Path) -> Result<Self, Trouble> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())?.port();
        let mut server = command("redis-server");
        server.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        server.args(["--enable-debug-command", "local", "--dir"]).arg(work).stdout(std::process::Stdio::null());
        let process = Process::start(server, &work.join("redis.log")).attempt("redis-server")?;
        let mut redis = Self { process, address: format!("127.0.0.1:{port}"), keys };
        let answers = timeout(START_LIMIT, redis.fill());
        answers.await.attempt("redis-server does not answer")??;
        Ok(redis)
    }

    /// As soon as it answers, has it make its keys itself: `key:0`, with a value of `value:0` and zeros, and so on.
    async fn fill(&mut self) -> Result<(), Trouble> {
        let mut socket = loop {
            match open(&self.address).await {
                Ok(socket) => break socket,
                Err(_) if self.process.is_running() => sleep(Duration::from_millis(20)).await,
                Err(_) => return Err(self.process.ended()),
            }
        };
        socket.write_all(format!("DEBUG POPULATE {} key {VALUE}\r\n", self.keys).as_bytes()).await?;
        let mut reply = [0; 5];
        socket.read_exact(&mut reply).await.attempt("DEBUG POPULATE")?;
        if reply == *b"+OK\r\n" { Ok(()) } else { Err("Redis does not make keys".into()) }
    }

    /// Asks for keys by chance.
    pub(crate) async fn get(&self, plan: GetPlan) -> Result<Measured, Trouble> {
        let (address, keys, usage) = (self.address.clone(), self.keys, self.process.usage()?);
        load::measure(usage, plan.warm_up, plan.time, async move |tally: Rc<Tally>| {
            let mut workers = Vec::new();
            for number in 0..plan.connections {
                let socket = open(&address).await?;
                let chance = Chance::of(7, number as u64);
                workers.push(tally.watch(ask(socket, chance, keys, plan.depth, Rc::clone(&tally))));
            }
            Ok(workers)
        })
        .await
    }
}

async fn open(address: &str) -> Result<TcpStream, Trouble> {
    let socket = TcpStream::connect(address).await.attempt(address)?;
    socket.set_nodelay(true).attempt("TCP_NODELAY")?;
    Ok(socket)
}

async fn ask(
    mut socket: TcpStream,
    mut chance: Chance,
    keys: u64,
    depth: usize,
    tally: Rc<Tally>,
) -> Result<(), Trouble> {
    let (mut commands, mut expected) = (String::new(), String::new());
    let mut replies = vec![0; REPLY * depth];
    while !tally.is_over() {
        commands.clear();
        let numbers: Vec<u64> = (0..depth).map(|_| chance.below(keys)).collect();
        for number in &numbers {
            let key_len = "key:".len() + number.checked_ilog10().unwrap_or(0) as usize + 1;
            write!(commands, "*2\r\n$3\r\nGET\r\n${key_len}\r\nkey:{number}\r\n")?;
        }
        let asked = tally.now();
        socket.write_all(commands.as_bytes()).await.attempt("GET")?;
        socket.read_exact(&mut replies).await.attempt("GET")?;
        for (number, reply) in numbers.iter().zip(replies.chunks_exact(REPLY)) {
            expected.clear();
            write!(expected, "${VALUE}\r\nvalue:{number}")?;
            if !reply.starts_with(expected.as_bytes()) {
                return Err(format!("Redis gave a wrong answer for key:{number}").into());
            }
        }
        tally.count(asked, depth as u64);
    }
    Ok(())
}

/// The version that is installed.
pub(crate) async fn version() -> Option<String> {
    let said = command("redis-server").arg("--version").output().await.ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    said.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}
