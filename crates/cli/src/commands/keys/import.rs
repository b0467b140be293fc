//! `keyctl keys import`.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use key_authority_proto::v1::{ImportKeysRequest, ImportKeysResponse, ImportedKey};
use prost::Message as _;
use tonic::{Response, Status};

use super::Session;
use crate::client::Api;
use crate::console::note;
use crate::errors::{Error, Exit};
use crate::import_file::{Form, Records};
use crate::relative::counted;
use crate::request_id;
use crate::table::{Table, Tone, plain, toned};
use crate::views::propagation;

/// A message holds no more bytes of keys than this, so that it stays below the 16 MiB that the authority takes.
const BYTES_MAX: usize = 12 * 1024 * 1024;
/// No key within all limits is as large. One that is larger is set aside, so that it does not take its message with it.
const KEY_BYTES_MAX: usize = 1024 * 1024;
/// How many errors are told on standard error.
const TOLD_MAX: usize = 20;

/// Takes over keys of another system, with the tokens that their holders have
///
/// The file holds a key a line: as JSON objects with the fields of `ImportedKey`, or as CSV with a header that names them. Of the
/// token it has all (token) or a digest (sha256, blake3). What is wrong with a key is told by its line; the others are imported.
///
/// It may be repeated at any time, after an interruption too: what is there already is left as it is.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Account that is to own the keys
    account: String,
    /// File of keys, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// How the file is written; by its name if nothing is said: csv where it ends in .csv, else jsonl
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<Form>,
    /// Tell what would come of it, and change nothing; each batch is judged by itself
    #[arg(long)]
    dry_run: bool,
    /// How many keys are one change, 10000 at most
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Write what was not imported to this file, a JSON object a line; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
}

type From = Box<dyn Read + Send>;

/// Keys of one message, with their lines, and what stood between them and is none.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    keys: Vec<ImportedKey>,
    wrong: Vec<(u64, String)>,
}

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let mut errors = Errors::create(self.errors.clone())?;
        let (mut records, bar) = self.open()?;
        let (mut total, mut messages) = (ImportKeysResponse::default(), 0);
        loop {
            let batch_size = self.batch as usize;
            // In a thread of its own, so that an interrupt is heard while nothing comes in.
            let read = tokio::task::spawn_blocking(move || {
                let batch = read(&mut records, batch_size);
                batch.map(|batch| (records, batch))
            });
            let read = read.await.map_err(io::Error::other).and_then(|read| read);
            let batch = match read {
                Ok((rest, batch)) => {
                    records = rest;
                    batch
                }
                Err(source) => return Err(stopped(&bar, &total, Error::File { path: self.file.into(), source })),
            };
            let Batch { lines, keys, wrong } = batch;
            if keys.is_empty() && wrong.is_empty() {
                break;
            }
            for (line, message) in wrong {
                errors.add(line, "", "NOT_READ", &message)?;
            }
            if !keys.is_empty() {
                messages += 1;
                let answer = self.send(session, keys).await.map_err(|error| stopped(&bar, &total, error))?;
                for error in &answer.errors {
                    let line = lines.get(error.index as usize).copied().unwrap_or_default();
                    errors.add(line, &error.field, &error.reason, &error.message)?;
                }
                total.imported = total.imported.saturating_add(answer.imported);
                total.existing = total.existing.saturating_add(answer.existing);
                total.propagation = answer.propagation.or(total.propagation);
            }
            bar.set_message(counted(u64::from(total.imported + total.existing), "key"));
        }
        bar.finish_and_clear();
        session.console.show(&total, || self.table(&total, errors.count))?;
        propagation::tell(total.propagation.as_ref());
        if self.dry_run && messages > 1 {
            note(
                "each batch was judged by itself; limits and repeats that reach over several show in the import alone",
            );
        }
        Ok(if errors.finish() { Exit::Done } else { Exit::No })
    }

    fn open(&self) -> Result<(Records<From>, ProgressBar), Error> {
        let unusable = |source| Error::File { path: self.file.clone().into(), source };
        let is_csv = self.file.rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let form = self.format.unwrap_or(if is_csv { Form::Csv } else { Form::Jsonl });
        // It draws on standard error, and only where that is a terminal.
        let (bar, from): (_, From) = if self.file == "-" {
            (ProgressBar::new_spinner(), Box::new(io::stdin()))
        } else {
            let file = File::open(&self.file).map_err(unusable)?;
            let bar = ProgressBar::new(file.metadata().map_err(unusable)?.len());
            let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left");
            let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
            (bar.clone(), Box::new(bar.wrap_read(file)))
        };
        Ok((Records::begin(from, form).map_err(unusable)?, bar))
    }

    /// A message is a call of its own: one whose answer was lost is sent again as it is, like every change.
    async fn send(&self, session: &Session, keys: Vec<ImportedKey>) -> Result<ImportKeysResponse, Error> {
        let request_id = if self.dry_run { String::new() } else { request_id::fresh()? };
        let message = ImportKeysRequest { account: self.account.clone(), keys, dry_run: self.dry_run, request_id };
        let rpc = |mut api: Api, request: tonic::Request<ImportKeysRequest>| async move {
            let (metadata, mut answers, extensions) =
                api.import_keys(request.map(tokio_stream::once)).await?.into_parts();
            let answer = answers.message().await?;
            let answer =
                answer.ok_or_else(|| Status::unavailable("the authority ended the import before its answer"))?;
            Ok(Response::from_parts(metadata, answer, extensions))
        };
        session.client.change(message, rpc).await
    }

    fn table(&self, total: &ImportKeysResponse, refused: u64) -> Table {
        let mut table = Table::record();
        table.pair(if self.dry_run { "would be imported" } else { "imported" }, plain(total.imported.to_string()));
        table.pair("there already", plain(total.existing.to_string()));
        let tone = if refused == 0 { Tone::Plain } else { Tone::Bad };
        table.pair("not imported", toned(refused.to_string(), tone));
        table
    }
}

fn read(records: &mut Records<From>, count: usize) -> io::Result<Batch> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    while batch.keys.len() + batch.wrong.len() < count && bytes < BYTES_MAX {
        let Some((line, key)) = records.next()? else { break };
        match key {
            Ok(key) if key.encoded_len() > KEY_BYTES_MAX => batch.wrong.push((line, "is larger than 1 MiB".into())),
            Ok(key) => {
                bytes += key.encoded_len();
                batch.lines.push(line);
                batch.keys.push(key);
            }
            Err(message) => batch.wrong.push((line, message)),
        }
    }
    Ok(batch)
}

/// What was done before it stopped is not undone.
fn stopped(bar: &ProgressBar, total: &ImportKeysResponse, error: Error) -> Error {
    bar.finish_and_clear();
    let done = u64::from(total.imported) + u64::from(total.existing);
    if done > 0 {
        note(&format!("{} came through; repeat the command to go on", counted(done, "key")));
    }
    error
}

/// What was not imported, and why.
struct Errors {
    file: Option<(PathBuf, File)>,
    count: u64,
}

impl Errors {
    fn create(path: Option<PathBuf>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self { file: None, count: 0 }) };
        match File::create_new(&path) {
            Ok(file) => Ok(Self { file: Some((path, file)), count: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(path)),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    fn add(&mut self, line: u64, field: &str, reason: &str, message: &str) -> Result<(), Error> {
        self.count += 1;
        match &mut self.file {
            Some((path, file)) => {
                let told = serde_json::json!({ "line": line, "field": field, "reason": reason, "message": message });
                writeln!(file, "{told}").map_err(|source| Error::File { path: path.clone(), source })?;
            }
            None if self.count <= TOLD_MAX as u64 => note(&format!("line {line}: {message}")),
            None => {}
        }
        Ok(())
    }

    /// Tells where the rest stands, and whether there is nothing to tell.
    fn finish(self) -> bool {
        match self.file {
            Some((path, _)) if self.count > 0 => note(&format!("{} tells what was not imported", path.display())),
            None if self.count > TOLD_MAX as u64 => {
                note(&format!("and {} more; --errors FILE keeps them all", self.count - TOLD_MAX as u64));
            }
            _ => {}
        }
        self.count == 0
    }
}
