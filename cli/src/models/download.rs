//! A file's way from a server into the store, which an interruption only delays.
//!
//! 1. What an earlier attempt left in `FILE.part` is read, for its digest.
//! 2. The server is asked for the rest (`Range`), on condition that its file is still the same
//!    (`If-Range`). How versions are told apart is kept in `FILE.json`.
//! 3. A server that has another file by now, or does not know the condition, answers with the whole
//!    file: that is a new beginning. What is there is given up when the new file's first bytes are.
//! 4. An attempt that ends early is made again, at once as long as each brings something, and a few times
//!    with growing pauses if it does not.

use crate::failure::Failure;
use crate::models::fetched::{Fetched, cannot};
use crate::models::format::START;
use crate::models::http::{Http, Validator, check_encoding, refused, shown, text};
use crate::models::meter::Meter;
use crate::models::retry::{End, Retries, span};
use crate::models::space;
use crate::text::{note, size};
use llm_wasi_bundle::{PIECE, Sum};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};
use url::Url;

/// The extension of what is known of the server's file.
pub(crate) const REMOTE: &str = "json";

/// What `FILE.json` says of the server's file.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct Remote {
    url: String,
    validator: Option<Validator>,
    size: Option<u64>,
}

/// Which bytes of a file an answer has, by its `Content-Range`.
#[derive(Debug, PartialEq)]
struct Range {
    from: u64,
    /// After the last one.
    until: u64,
    /// Of the whole file.
    size: Option<u64>,
}

/// Says of a file's first bytes whether it is worth fetching.
type Accept<'a> = &'a dyn Fn(&[u8]) -> Result<(), Failure>;

/// A file that is being fetched.
pub(crate) struct Download<'a> {
    http: &'a Http,
    url: &'a Url,
    path: PathBuf,
    file: File,
    /// The bytes of the file that are there; what else the file on the disk has is not of this download.
    length: u64,
    sum: Sum,
    remote: Remote,
    /// The most bytes that were there at once.
    furthest: u64,
    /// Whether the server may send the rest of a file alone.
    sends_rest: bool,
    meter: &'a mut Meter,
}

impl<'a> Download<'a> {
    /// Goes on with what is at `path`, if that can be. Nothing there is changed yet.
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
            furthest: 0,
            sends_rest: true,
            meter,
        };
        if download.remote.url == shown(url).to_string() && download.remote.validator.is_some() {
            download.read_part()?;
        }
        let too_long = |size| download.length > size;
        if download.length == 0 || download.remote.size.is_some_and(too_long) {
            download.forget();
        }
        download.furthest = download.length;
        Ok(download)
    }

    /// Fetches what is missing.
    pub(crate) fn run(mut self, accept: Accept) -> Result<Fetched, Failure> {
        let mut retries = Retries::default();
        let mut answered = false;
        loop {
            let before = self.furthest;
            let (failure, after) = match self.attempt(accept) {
                Ok(()) => break,
                Err(End::Passing { failure, after }) => (failure, after),
                Err(End::Unreachable(failure)) if answered => (failure, None),
                Err(End::Unreachable(failure) | End::Lasting(failure)) => return Err(failure),
            };
            answered = true;
            self.meter.clear();
            let Some(pause) = retries.pause(self.furthest > before, after) else {
                return Err(self.told(failure, after));
            };
            tracing::info!("{}; connecting again", failure.line());
            if !pause.is_zero() {
                let url = shown(self.url);
                note(
                    "waiting",
                    &format!("{} before asking for {url} again", span(pause)),
                );
                std::thread::sleep(pause);
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

    /// The failure of the last attempt, with what a further run of the command finds.
    fn told(&self, failure: Failure, after: Option<Duration>) -> Failure {
        if self.length == 0 {
            return failure;
        }
        let when = match after {
            Some(after) => format!(" in {}, as the server asks", span(after)),
            None => String::new(),
        };
        let what = match &self.remote.validator {
            None => "it begins anew, for the server does not tell versions of the file apart",
            Some(_) if !self.sends_rest => {
                "it begins anew, for the server does not send the rest of a file alone"
            }
            Some(_) => "it goes on from there, for what has arrived is kept",
        };
        failure.next_step(format!("run the command again{when}: {what}"))
    }

    fn attempt(&mut self, accept: Accept) -> Result<(), End> {
        match self.is_complete()? {
            true => Ok(()),
            false => self.connect(accept),
        }
    }

    /// Whether all was there before, and the server still has the same.
    fn is_complete(&mut self) -> Result<bool, End> {
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
        self.forget();
        Ok(false)
    }

    /// One connection: everything it brings is in the file.
    fn connect(&mut self, accept: Accept) -> Result<(), End> {
        let rest = match &self.remote.validator {
            Some(validator) if self.length > 0 => Some((self.length, validator)),
            _ => None,
        };
        let asked_for_rest = rest.is_some();
        let response = self.http.get(self.url, rest)?;
        match response.status() {
            StatusCode::OK => {
                if asked_for_rest && !self.is_changed(&response) {
                    self.sends_rest = false;
                }
                self.take_whole(response, accept)
            }
            StatusCode::PARTIAL_CONTENT if asked_for_rest => match self.rest(&response) {
                Some(range) => self.take_rest(response, &range),
                None => {
                    self.sends_rest &= self.is_changed(&response);
                    self.connect_anew(accept)
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE if asked_for_rest => self.connect_anew(accept),
            _ => Err(refused(self.url, &response)),
        }
    }

    /// Asks for the whole file: the rest that was sent is one of something else.
    fn connect_anew(&mut self, accept: Accept) -> Result<(), End> {
        self.forget();
        self.connect(accept)
    }

    fn take_whole(&mut self, response: Response<Body>, accept: Accept) -> Result<(), End> {
        let remote = self.describe(&response);
        check_encoding(self.url, &response)
            .and_then(|()| self.check_space(remote.size))
            .map_err(End::Lasting)?;
        self.meter.start(0, remote.size);
        let mut body = response.into_body().into_reader();
        let start = self.start(&mut body, remote.size)?;
        // Only for a model what was there is given up.
        accept(&start)
            .and_then(|()| self.begin(remote))
            .map_err(End::Lasting)?;
        self.take(&start, self.remote.size)?;
        self.receive(body, self.remote.size)
    }

    fn take_rest(&mut self, response: Response<Body>, range: &Range) -> Result<(), End> {
        check_encoding(self.url, &response)
            .and_then(|()| self.check_space(range.size))
            .map_err(End::Lasting)?;
        if self.remote.size.is_none() {
            self.remote.size = range.size;
            self.save().map_err(End::Lasting)?;
        }
        self.meter.start(self.length, self.remote.size);
        self.receive(response.into_body().into_reader(), Some(range.until))
    }

    /// The first bytes of a file, as many as tell what it is.
    fn start(&self, body: &mut impl Read, size: Option<u64>) -> Result<Vec<u8>, End> {
        let mut start = Vec::new();
        let read = body.take(START as u64).read_to_end(&mut start);
        let length = start.len() as u64;
        match (read, size) {
            (Err(error), _) => Err(self.cut(length, size, Some(&error))),
            (Ok(_), Some(whole)) if length < whole.min(START as u64) => {
                Err(self.cut(length, size, None))
            }
            (Ok(_), _) => Ok(start),
        }
    }

    /// Adds what arrives, of which there can be no more than up to the file's byte `until`.
    fn receive(&mut self, mut body: impl Read, until: Option<u64>) -> Result<(), End> {
        let mut piece = vec![0; PIECE];
        loop {
            let n = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(self.length, self.remote.size, Some(&error))),
            };
            self.take(&piece[..n], until)?;
        }
        match self.remote.size {
            Some(size) if self.length < size => Err(self.cut(self.length, Some(size), None)),
            _ => Ok(()),
        }
    }

    fn take(&mut self, bytes: &[u8], until: Option<u64>) -> Result<(), End> {
        match until {
            Some(until) if bytes.len() as u64 > until.saturating_sub(self.length) => {
                Err(End::Lasting(self.too_much(until)))
            }
            _ => self.add(bytes).map_err(End::Lasting),
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|error| cannot("write", &self.path, &error))?;
        self.sum.add(bytes);
        self.length += bytes.len() as u64;
        self.furthest = self.furthest.max(self.length);
        self.meter.advance(bytes.len() as u64);
        Ok(())
    }

    /// Takes what is in the file for nothing that has arrived. It is still there.
    fn forget(&mut self) {
        self.length = 0;
        self.sum = Sum::default();
        self.remote = Remote::default();
    }

    /// Gives up what is in the file, for a file of which this is known.
    fn begin(&mut self, remote: Remote) -> Result<(), Failure> {
        self.forget();
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| cannot("write", &self.path, &error))?;
        self.remote = remote;
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
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

    /// Whether an answer says that it is of another version of the file.
    fn is_changed(&self, response: &Response<Body>) -> bool {
        Validator::of(response).is_some_and(|found| self.remote.validator != Some(found))
    }

    /// What an answer has of the file, if that is the rest of which a part is there.
    fn rest(&self, response: &Response<Body>) -> Option<Range> {
        let range = Range::parse(text(response, header::CONTENT_RANGE)?)?;
        let same_place = range.from == self.length
            && (range.size.is_none()
                || self.remote.size.is_none()
                || range.size == self.remote.size);
        // The answer need not repeat a date, but has to repeat a tag (RFC 9110, 15.3.7).
        let has_validator = match &self.remote.validator {
            Some(Validator::Etag(_)) => Validator::of(response).is_some(),
            _ => true,
        };
        (same_place && has_validator && !self.is_changed(response)).then_some(range)
    }

    fn check_space(&self, size: Option<u64>) -> Result<(), Failure> {
        size.map_or(Ok(()), |size| space::check(&self.path, size))
    }

    /// The end of a connection after so many bytes of the file.
    fn cut(&self, length: u64, of: Option<u64>, error: Option<&std::io::Error>) -> End {
        let of = match of {
            Some(total) => format!(" of {}", size(total)),
            None => String::new(),
        };
        let failure = Failure::new(format!(
            "{}: the connection ended after {}{of}",
            shown(self.url),
            size(length)
        ));
        let failure = match error {
            Some(error) => failure.cause(error),
            None => failure,
        };
        End::Passing {
            failure: failure.next_step("run the command again"),
            after: None,
        }
    }

    /// What a server sends that does not keep to its own length can be anything.
    fn too_much(&mut self, until: u64) -> Failure {
        let failure = Failure::new(format!(
            "{} sends more of the file than it announced",
            shown(self.url)
        ))
        .expected(format!("{until} bytes"))
        .next_step("check the source, or add the file by its path; what has arrived was not kept");
        self.begin(Remote::default()).err().unwrap_or(failure)
    }
}

/// Where it is kept what is known of the server's file.
fn remote_path(part: &Path) -> PathBuf {
    part.with_extension(REMOTE)
}

impl Range {
    /// Of a text such as `bytes 100-199/200`.
    fn parse(text: &str) -> Option<Range> {
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (from, last) = range.split_once('-')?;
        let (from, last): (u64, u64) = (from.parse().ok()?, last.parse().ok()?);
        let size = match size {
            "*" => None,
            size => Some(size.parse().ok()?),
        };
        let until = last.checked_add(1)?;
        let good = from < until && size.is_none_or(|size| until <= size);
        good.then_some(Range { from, until, size })
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges() {
        let range = |from, until, size| Some(Range { from, until, size });
        assert_eq!(
            Range::parse("bytes 100-199/200"),
            range(100, 200, Some(200))
        );
        assert_eq!(
            Range::parse("bytes 100-149/200"),
            range(100, 150, Some(200))
        );
        assert_eq!(Range::parse("bytes 0-9/*"), range(0, 10, None));
        for bad in [
            "",
            "bytes */200",
            "items 0-1/2",
            "bytes 1/2",
            "bytes a-b/c",
            "bytes 2-1/3",
            "bytes 0-3/3",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }
}
