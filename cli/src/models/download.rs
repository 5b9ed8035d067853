//! A file's way from a server into the store, which an interruption only delays.
//!
//! 1. What an earlier attempt left in `FILE.part` is read, for its digest.
//! 2. The server is asked for the rest (`Range`), on condition that its file is still the same
//!    (`If-Range`). How versions are told apart is kept in `FILE.json`.
//! 3. A server that has another file by now, or does not know the condition, answers with the whole
//!    file: that is a new beginning.
//! 4. A connection that ends early is made again, as long as each brings something.

use crate::failure::Failure;
use crate::models::fetched::{Fetched, cannot};
use crate::models::format::START;
use crate::models::http::{Http, Validator, refused, shown, text};
use crate::models::meter::Meter;
use crate::text::size;
use llm_wasi_bundle::{PIECE, Sum};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};
use url::Url;

/// How often a connection that ends early is made again.
const RETRIES: u32 = 10;

/// What `FILE.json` says of the server's file.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct Remote {
    url: String,
    validator: Option<Validator>,
    size: Option<u64>,
}

/// Why a connection has ended.
enum End {
    /// The next one may bring more.
    Cut(Failure),
    Failed(Failure),
}

/// A file that is being fetched.
pub(crate) struct Download<'a> {
    http: &'a Http,
    url: &'a Url,
    path: PathBuf,
    file: File,
    length: u64,
    sum: Sum,
    remote: Remote,
    meter: &'a mut Meter,
}

impl<'a> Download<'a> {
    /// Goes on with what is at `path`, if that can be.
    pub(crate) fn open(
        http: &'a Http,
        url: &'a Url,
        path: PathBuf,
        meter: &'a mut Meter,
    ) -> Result<Download<'a>, Failure> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| cannot("write", &path, &error))?;
        let remote = std::fs::read(remote_path(&path)).unwrap_or_default();
        let mut download = Download {
            http,
            url,
            path,
            file,
            length: 0,
            sum: Sum::default(),
            remote: serde_json::from_slice(&remote).unwrap_or_default(),
            meter,
        };
        if download.remote.url == shown(url).to_string() && download.remote.validator.is_some() {
            download.read_part()?;
        }
        let too_long = |size| download.length > size;
        if download.length == 0 || download.remote.size.is_some_and(too_long) {
            download.begin(Remote::default())?;
        }
        Ok(download)
    }

    /// Fetches what is missing. `check` sees the file's start as soon as it is there.
    pub(crate) fn run(
        mut self,
        check: &dyn Fn(&Path) -> Result<(), Failure>,
    ) -> Result<Fetched, Failure> {
        let mut retries = 0;
        while !self.is_complete()? {
            let before = self.length;
            match self.connect(check) {
                Ok(()) => break,
                Err(End::Cut(failure)) if self.length > before && retries < RETRIES => {
                    self.meter.clear();
                    tracing::info!("{}; connecting again", failure.line());
                    retries += 1;
                }
                Err(End::Cut(failure) | End::Failed(failure)) => return Err(failure),
            }
        }
        self.file
            .sync_all()
            .map_err(|error| cannot("write", &self.path, &error))?;
        Ok(Fetched {
            size: self.length,
            sha256: self.sum.finish(),
            validator: self.remote.validator,
        })
    }

    /// Whether all was there before, and the server still has the same.
    fn is_complete(&mut self) -> Result<bool, Failure> {
        let Remote {
            validator: Some(validator),
            size: Some(size),
            ..
        } = &self.remote
        else {
            return Ok(false);
        };
        if self.length < *size {
            return Ok(false);
        }
        if self.http.is_unchanged(self.url, validator)? {
            return Ok(true);
        }
        self.begin(Remote::default())?;
        Ok(false)
    }

    /// One connection: everything it brings is in the file.
    fn connect(&mut self, check: &dyn Fn(&Path) -> Result<(), Failure>) -> Result<(), End> {
        let rest = match &self.remote.validator {
            Some(validator) if self.length > 0 => Some((self.length, validator)),
            _ => None,
        };
        let asked_for_rest = rest.is_some();
        let response = self.http.get(self.url, rest).map_err(End::Cut)?;
        match response.status() {
            StatusCode::OK => self.begin(self.describe(&response)).map_err(End::Failed)?,
            StatusCode::PARTIAL_CONTENT if asked_for_rest && self.is_rest(&response) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if asked_for_rest => {
                // The rest of something else: ask for the whole.
                self.begin(Remote::default()).map_err(End::Failed)?;
                return self.connect(check);
            }
            status => return Err(End::Failed(refused(self.url, status))),
        }
        self.meter.start(self.length, self.remote.size);
        self.receive(response.into_body(), check)
    }

    fn receive(
        &mut self,
        body: Body,
        check: &dyn Fn(&Path) -> Result<(), Failure>,
    ) -> Result<(), End> {
        let mut body = body.into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(Some(&error))),
            };
            let before = self.length;
            self.add(&piece[..n]).map_err(End::Failed)?;
            if (before..self.length).contains(&(START as u64)) {
                self.check(check).map_err(End::Failed)?;
            }
        }
        match self.remote.size {
            Some(size) if self.length < size => Err(self.cut(None)),
            _ => Ok(()),
        }
    }

    /// What is no model is not worth going on with.
    fn check(&mut self, check: &dyn Fn(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
        match check(&self.path) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.begin(Remote::default())?;
                Err(failure)
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|error| cannot("write", &self.path, &error))?;
        self.sum.add(bytes);
        self.length += bytes.len() as u64;
        self.meter.advance(bytes.len() as u64);
        Ok(())
    }

    /// Forgets what has arrived, for a file of which this is known.
    fn begin(&mut self, remote: Remote) -> Result<(), Failure> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| cannot("write", &self.path, &error))?;
        self.length = 0;
        self.sum = Sum::default();
        self.remote = remote;
        let path = remote_path(&self.path);
        serde_json::to_vec(&self.remote)
            .map_err(std::io::Error::from)
            .and_then(|json| std::fs::write(&path, json))
            .map_err(|error| cannot("write", &path, &error))
    }

    /// Takes what is in the file as what has arrived.
    fn read_part(&mut self) -> Result<(), Failure> {
        let failed = |path: &Path, error| cannot("read", path, &error);
        self.meter.start(0, self.remote.size);
        let mut piece = vec![0; PIECE];
        loop {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    self.sum.add(&piece[..n]);
                    self.length += n as u64;
                    self.meter.advance(n as u64);
                }
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
    }

    fn describe(&self, response: &Response<Body>) -> Remote {
        Remote {
            url: shown(self.url).to_string(),
            validator: Validator::of(response),
            size: text(response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        }
    }

    /// Whether an answer is the rest of the file of which a part is there.
    fn is_rest(&self, response: &Response<Body>) -> bool {
        let range = text(response, header::CONTENT_RANGE).and_then(content_range);
        let same_place = range.is_some_and(|(from, total)| {
            from == self.length && (total.is_none() || total == self.remote.size)
        });
        // The answer need not repeat the validator.
        let validator = Validator::of(response);
        same_place && (validator.is_none() || validator == self.remote.validator)
    }

    fn cut(&self, error: Option<&std::io::Error>) -> End {
        let of = match self.remote.size {
            Some(total) => format!(" of {}", size(total)),
            None => String::new(),
        };
        let failure = Failure::new(format!(
            "{}: the connection ended after {}{of}",
            shown(self.url),
            size(self.length)
        ));
        let failure = match error {
            Some(error) => failure.cause(error),
            None => failure,
        };
        End::Cut(failure.next_step(match self.remote.validator {
            Some(_) => "run the command again: it goes on from there",
            None => {
                "run the command again: it begins anew, for the server does not tell versions apart"
            }
        }))
    }
}

/// Where it is kept what is known of the server's file.
fn remote_path(part: &Path) -> PathBuf {
    part.with_extension("json")
}

/// The first byte and the size of the whole in `bytes 100-199/200`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((from.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn ranges() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(content_range("bytes 0-9/*"), Some((0, None)));
        for bad in ["", "bytes */200", "items 0-1/2", "bytes 1/2", "bytes a-b/c"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
