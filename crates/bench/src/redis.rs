//! A private Redis server from Debian, with as many keys as the key authority, values of 64 bytes, read with GET.

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use key_authority_testkit::port::free_port;
use key_authority_testkit::process::{Process, command};
use key_authority_testkit::rng::SeededRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::load::{self, Measured, Recorder};
use crate::usage::Usage;

const START_LIMIT: Duration = Duration::from_mins(1);
/// The length of each value in bytes.
const VALUE: usize = 64;
/// The length of a reply: the length of the value, the value, two line ends.
const REPLY: usize = "$64\r\n".len() + VALUE + "\r\n".len();

/// A running Redis without persistence. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
    address: String,
    keys: u64,
}

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetPlan {
    pub(crate) connections: usize,
    /// Commands in one write, before their replies are read.
    pub(crate) depth: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

impl Redis {
    /// Starts one with `keys` keys.
    pub(crate) async fn start(keys: u64, work: &Path) -> Result<Self> {
        let port = free_port(&mut SeededRng::new(SeededRng::random_seed()))?;
        let mut server = command("redis-server");
        server.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        server.args(["--enable-debug-command", "local", "--dir"]).arg(work);
        let process = Process::start("redis-server", server, &work.join("redis.log"))?;
        let mut redis = Self { process, address: format!("127.0.0.1:{port}"), keys };
        let answers = timeout(START_LIMIT, redis.fill());
        answers.await.context("redis-server did not answer in time")??;
        Ok(redis)
    }

    /// Waits until it answers, and makes it create its keys: `key:0` with the value `value:0` and zeros, and so on.
    async fn fill(&mut self) -> Result<()> {
        let mut socket = loop {
            match open(&self.address).await {
                Ok(socket) => break socket,
                Err(_) if self.process.is_running() => sleep(Duration::from_millis(20)).await,
                Err(_) => return Err(self.process.failure("exited")),
            }
        };
        socket.write_all(format!("DEBUG POPULATE {} key {VALUE}\r\n", self.keys).as_bytes()).await?;
        let mut reply = [0; 5];
        socket.read_exact(&mut reply).await.context("DEBUG POPULATE failed")?;
        if reply == *b"+OK\r\n" { Ok(()) } else { Err(anyhow!("Redis did not create the keys")) }
    }

    /// Measures GET of random keys.
    pub(crate) async fn get(&self, plan: GetPlan) -> Result<Measured> {
        let (address, keys, usage) = (self.address.clone(), self.keys, Usage::of(&self.process)?);
        load::measure(usage, plan.warm_up, plan.time, async move |recorder: Rc<Recorder>| {
            let mut workers = Vec::new();
            for number in 0..plan.connections {
                let socket = open(&address).await?;
                let rng = SeededRng::stream(7, number as u64);
                workers.push(recorder.spawn(run(socket, rng, keys, plan.depth, Rc::clone(&recorder))));
            }
            Ok(workers)
        })
        .await
    }
}

async fn open(address: &str) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    Ok(socket)
}

async fn run(mut socket: TcpStream, mut rng: SeededRng, keys: u64, depth: usize, recorder: Rc<Recorder>) -> Result<()> {
    let (mut commands, mut expected) = (String::new(), String::new());
    let mut replies = vec![0; REPLY * depth];
    while !recorder.is_over() {
        commands.clear();
        let numbers: Vec<u64> = (0..depth).map(|_| rng.below(keys)).collect();
        for number in &numbers {
            let key_len = "key:".len() + number.checked_ilog10().unwrap_or(0) as usize + 1;
            write!(commands, "*2\r\n$3\r\nGET\r\n${key_len}\r\nkey:{number}\r\n")?;
        }
        let sent = recorder.now();
        socket.write_all(commands.as_bytes()).await.context("GET failed")?;
        socket.read_exact(&mut replies).await.context("GET failed")?;
        for (number, reply) in numbers.iter().zip(replies.chunks_exact(REPLY)) {
            expected.clear();
            write!(expected, "${VALUE}\r\nvalue:{number}")?;
            if !reply.starts_with(expected.as_bytes()) {
                bail!("wrong reply of Redis for key:{number}");
            }
        }
        recorder.count(sent, depth as u64);
    }
    Ok(())
}

/// The installed version.
pub(crate) async fn version() -> Option<String> {
    let output = command("redis-server").arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}
