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

/// Maximum size of the keys in a message, in bytes. The authority accepts messages of up to 16 MiB.
const BYTES_MAX: usize = 12 * 1024 * 1024;
/// Maximum size of a key, in bytes. A valid key is smaller. A larger one is reported without being sent, so that it
/// does not make its whole message fail.
const KEY_BYTES_MAX: usize = 1024 * 1024;
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

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let mut errors = Errors::create(self.errors.clone())?;
        let (mut records, bar) = self.open()?;
        let (mut total, mut messages) = (ImportKeysResponse::default(), 0);
        loop {
            let batch_size = self.batch as usize;
            // On a blocking thread, so that an interrupt is handled while the input blocks.
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
            bar.set_message(counted(done(&total), "key"));
        }
        bar.finish_and_clear();
        session.console.show(&total, || self.table(&total, errors.count))?;
        propagation::report(total.propagation.as_ref());
        if self.dry_run && messages > 1 {
            note(
                "each batch was checked separately; limits and duplicates across batches are detected only by the \
                 import",
            );
        }
        Ok(if errors.finish() { Exit::Done } else { Exit::No })
    }

    fn open(&self) -> Result<(Records<Source>, ProgressBar), Error> {
        let unusable = |source| Error::File { path: self.file.clone().into(), source };
        let is_csv = self.file.rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let form = self.format.unwrap_or(if is_csv { Form::Csv } else { Form::Jsonl });
        // The bar is drawn on standard error if that is a terminal.
        let (bar, from): (_, Source) = if self.file == "-" {
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

fn read(records: &mut Records<Source>, count: usize) -> io::Result<Batch> {
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

/// Returns the number of keys that the account has now.
fn done(total: &ImportKeysResponse) -> u64 {
    u64::from(total.imported) + u64::from(total.existing)
}

/// Reports the keys that were imported before an error. They are not rolled back.
fn stopped(bar: &ProgressBar, total: &ImportKeysResponse, error: Error) -> Error {
    bar.finish_and_clear();
    let done = done(total);
    if done > 0 {
        note(&format!("{} imported or existing; repeat the command to continue", counted(done, "key")));
    }
    error
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
