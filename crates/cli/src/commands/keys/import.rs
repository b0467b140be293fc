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

/// A message is sent when its keys have this size, in bytes. The authority accepts messages of up to 16 MiB, and the
/// line of a key has at most 1 MiB.
const BYTES_MAX: usize = 12 * 1024 * 1024;
/// Maximum number of errors printed on standard error.
const PRINTED_MAX: usize = 20;

/// Imports keys of another system with their existing tokens
///
/// The file has one key on each line: JSON objects with the fields of `ImportedKey`, or CSV with a header that names
/// them. A key has a whole token (token) or a digest of it (sha256, blake3). Invalid keys are reported with their line;
/// the others are imported.
///
/// The command can be repeated, also after an interruption: existing keys do not change.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Account that owns the keys
    account: String,
    /// File with the keys, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Format of the file; default: csv if its name ends with .csv, otherwise jsonl
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<Form>,
    /// Only check the keys, and change nothing; each batch is checked separately
    #[arg(long)]
    dry_run: bool,
    /// Number of keys in one message, at most 10000
    #[arg(
        long, value_name = "COUNT", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    batch: u32,
    /// Write the keys that were not imported to this file, one JSON object on each line; an existing file is never
    /// overwritten
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
}

type Source = Box<dyn Read + Send>;

/// The keys of one message with their lines, and the invalid lines between them.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    keys: Vec<ImportedKey>,
    wrong: Vec<(u64, String)>,
}

/// What has been imported so far.
struct Progress {
    bar: ProgressBar,
    errors: Errors,
    total: ImportKeysResponse,
    messages: u64,
    has_rows: bool,
}

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let (file, format) = (self.file.clone(), self.format);
        // On a blocking thread, so that an interrupt is handled while the input blocks.
        let opened = tokio::task::spawn_blocking(move || open(&file, format));
        let opened = opened.await.map_err(io::Error::other).and_then(|opened| opened);
        let (records, bar) = opened.map_err(|source| self.unusable(source))?;
        let errors = Errors::create(self.errors.clone())?;
        let mut progress = Progress { bar, errors, total: ImportKeysResponse::default(), messages: 0, has_rows: false };
        let ended = self.import(session, records, &mut progress).await;
        progress.bar.finish_and_clear();
        let Progress { errors, total, messages, has_rows, .. } = progress;
        ended.inspect_err(|_| note_partial(&total))?;
        session.console.show(&total, || self.table(&total, errors.count))?;
        propagation::report(total.propagation.as_ref());
        if !has_rows {
            note("the file contains no keys");
        }
        if self.dry_run && messages > 1 {
            note(
                "each batch was checked separately; limits and duplicates across batches are detected only by the \
                 import",
            );
        }
        Ok(if errors.finish() { Exit::Done } else { Exit::No })
    }

    fn unusable(&self, source: io::Error) -> Error {
        Error::File { path: self.file.clone().into(), source }
    }

    /// Imports all keys, batch by batch.
    async fn import(
        &self,
        session: &Session,
        mut records: Records<Source>,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let batch_size = self.batch as usize;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let batch = read(&mut records, batch_size);
                batch.map(|batch| (records, batch))
            });
            let read = read.await.map_err(io::Error::other).and_then(|read| read);
            let (rest, batch) = read.map_err(|source| self.unusable(source))?;
            records = rest;
            if batch.keys.is_empty() && batch.wrong.is_empty() {
                let is_empty = !progress.has_rows && !records.has_header();
                return if is_empty { Err(self.unusable(io::Error::other("is empty"))) } else { Ok(()) };
            }
            progress.has_rows = true;
            self.import_batch(session, batch, progress).await?;
            progress.bar.set_message(counted(done(&progress.total), "key"));
        }
    }

    async fn import_batch(&self, session: &Session, batch: Batch, progress: &mut Progress) -> Result<(), Error> {
        let Batch { lines, keys, wrong } = batch;
        for (line, message) in wrong {
            progress.errors.add(line, "", "NOT_READ", &message)?;
        }
        if keys.is_empty() {
            return Ok(());
        }
        progress.messages += 1;
        let answer = self.send(session, keys).await?;
        let total = &mut progress.total;
        total.imported = total.imported.saturating_add(answer.imported);
        total.existing = total.existing.saturating_add(answer.existing);
        total.propagation = answer.propagation.or(total.propagation);
        for error in &answer.errors {
            let line = lines.get(error.index as usize).copied().unwrap_or_default();
            progress.errors.add(line, &error.field, &error.reason, &error.message)?;
        }
        Ok(())
    }

    /// Sends one message as a separate call. If its response is lost, it is retried like every change.
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

    fn table(&self, total: &ImportKeysResponse, rejected: u64) -> Table {
        let mut table = Table::record();
        table.pair(if self.dry_run { "would be imported" } else { "imported" }, plain(total.imported.to_string()));
        table.pair("existing", plain(total.existing.to_string()));
        let tone = if rejected == 0 { Tone::Plain } else { Tone::Bad };
        table.pair("not imported", toned(rejected.to_string(), tone));
        table
    }
}

/// Opens the file and reads its header, if the format has one.
fn open(file: &str, format: Option<Form>) -> io::Result<(Records<Source>, ProgressBar)> {
    let is_csv = file.rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let form = format.unwrap_or(if is_csv { Form::Csv } else { Form::Jsonl });
    // The bar is drawn on standard error if that is a terminal.
    let (bar, from): (_, Source) = if file == "-" {
        (ProgressBar::new_spinner(), Box::new(io::stdin()))
    } else {
        let file = File::open(file)?;
        let bar = ProgressBar::new(file.metadata()?.len());
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left");
        let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
        (bar.clone(), Box::new(bar.wrap_read(file)))
    };
    Ok((Records::begin(from, form)?, bar))
}

fn read(records: &mut Records<Source>, count: usize) -> io::Result<Batch> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    while batch.keys.len() + batch.wrong.len() < count && bytes < BYTES_MAX {
        let Some((line, key)) = records.next()? else { break };
        match key {
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

/// Returns the number of keys that the account has now.
fn done(total: &ImportKeysResponse) -> u64 {
    u64::from(total.imported) + u64::from(total.existing)
}

/// Reports the keys that were imported before an error. They are not rolled back.
fn note_partial(total: &ImportKeysResponse) {
    let done = done(total);
    if done > 0 {
        note(&format!("{} imported or existing; repeat the command to continue", counted(done, "key")));
    }
}

/// Collects the keys that were not imported, with their errors.
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
                let entry = serde_json::json!({ "line": line, "field": field, "reason": reason, "message": message });
                writeln!(file, "{entry}").map_err(|source| Error::File { path: path.clone(), source })?;
            }
            None if self.count <= PRINTED_MAX as u64 => note(&format!("line {line}: {message}")),
            None => {}
        }
        Ok(())
    }

    /// Reports where the errors are. Returns whether there are none.
    fn finish(self) -> bool {
        match self.file {
            Some((path, _)) if self.count > 0 => {
                note(&format!("{} lists the keys that were not imported", path.display()));
            }
            None if self.count > PRINTED_MAX as u64 => {
                note(&format!(
                    "and {} more; --errors FILE writes all of them to a file",
                    self.count - PRINTED_MAX as u64
                ));
            }
            _ => {}
        }
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_keys_does_not_overflow() {
        let total = ImportKeysResponse { imported: u32::MAX, existing: 1, ..ImportKeysResponse::default() };
        assert_eq!(done(&total), 1 << 32);
    }
}
