//! A server of files that can misbehave, and remembers what it was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How versions of a file are told apart.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Version {
    /// By a tag of the content.
    Tag,
    /// By a tag that does not promise equal bytes.
    WeakTag,
    /// By a date.
    Date,
    /// Not at all.
    Nothing,
}

/// What the server does. Tests change it as they go.
pub(crate) struct Behaviour {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) version: Version,
    /// The date that goes with [`Version::Date`].
    pub(crate) date: &'static str,
    /// Whether parts of files can be had.
    pub(crate) ranges: bool,
    /// Whether a change of the file is noticed where a part is asked for.
    pub(crate) heeds_conditions: bool,
    /// Whether it says how long a file is.
    pub(crate) tells_length: bool,
    /// Ends this many answers early, after so many bytes of the file.
    pub(crate) cut: Option<(usize, usize)>,
    /// After the last of them, so many answers have this status.
    pub(crate) status_after_cut: Option<(usize, &'static str)>,
    /// After the last of them, it takes so many connections and says nothing.
    pub(crate) silent_after_cut: usize,
    /// Takes so many connections and says nothing.
    pub(crate) silent: usize,
    /// Answers so many times with this status.
    pub(crate) status: Option<(usize, &'static str)>,
    /// How long it asks to wait in these answers.
    pub(crate) retry_after: Option<&'static str>,
    /// Whether it says of a part which version of the file it is of.
    pub(crate) tags_parts: bool,
    /// What it says of the length of a file, instead of the truth.
    pub(crate) claims: Option<u64>,
    /// Adds so many bytes to each part of a file, after its end.
    pub(crate) excess: usize,
    /// How it says that files are encoded.
    pub(crate) encoding: Option<&'static str>,
    /// Leads from one path to another URL.
    pub(crate) redirects: BTreeMap<String, String>,
    /// Waits before each of ten pieces of a file.
    pub(crate) pace: Duration,
}

/// A request, and how many bytes of a file were the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) sent: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
}

impl Server {
    /// A good server with these files.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Server {
        let files = files
            .iter()
            .map(|(path, content)| (path.to_string(), content.to_vec()))
            .collect();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour {
                files,
                version: Version::Tag,
                date: "Tue, 03 Nov 2026 10:00:00 GMT",
                ranges: true,
                heeds_conditions: true,
                tells_length: true,
                cut: None,
                status_after_cut: None,
                silent_after_cut: 0,
                silent: 0,
                status: None,
                retry_after: None,
                tags_parts: true,
                claims: None,
                excess: 0,
                encoding: None,
                redirects: BTreeMap::new(),
                pace: Duration::ZERO,
            }),
            requests: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming().flatten() {
                    let shared = shared.clone();
                    // A client that goes away is no fault of the server.
                    std::thread::spawn(move || shared.answer(&stream).ok());
                }
            }
        });
        Server { address, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The tag of a file.
    pub(crate) fn tag(&self, path: &str) -> String {
        let behaviour = self.behaviour();
        tag(&behaviour.files[path])
    }

    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.shared.behaviour.lock().expect("no panic")
    }

    /// The requests since this was asked last.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock().expect("no panic"))
    }
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut request = read_request(&mut reader)?;
        if request.line.starts_with("CONNECT ") {
            (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            request = read_request(&mut reader)?;
        }
        let answer = {
            let mut behaviour = self.behaviour.lock().expect("no panic");
            if behaviour.silent > 0 {
                behaviour.silent -= 1;
                return Ok(());
            }
            behaviour.answer(&request)
        };
        let at = {
            let mut requests = self.requests.lock().expect("no panic");
            requests.push(request);
            requests.len() - 1
        };
        (&mut &*stream).write_all(answer.head.as_bytes())?;
        for piece in answer.body.chunks(answer.piece) {
            std::thread::sleep(answer.pace);
            (&mut &*stream).write_all(piece)?;
            let mut requests = self.requests.lock().expect("no panic");
            if let Some(request) = requests.get_mut(at) {
                request.sent += piece.len();
            }
        }
        Ok(())
    }
}

struct Answer {
    head: String,
    body: Vec<u8>,
    piece: usize,
    pace: Duration,
}

impl Behaviour {
    fn answer(&mut self, request: &Request) -> Answer {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let path = match target.strip_prefix("http://") {
            // To a proxy.
            Some(rest) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => target,
        };
        let path = path.split('?').next().unwrap_or_default();
        if let Some((times, status)) = self.status {
            self.status = (times > 1).then_some((times - 1, status));
            let headers = match self.retry_after {
                Some(after) => format!("Retry-After: {after}\r\n"),
                None => String::new(),
            };
            return self.plain(status, &headers);
        }
        if let Some(location) = self.redirects.get(path) {
            return self.plain("302 Found", &format!("Location: {location}\r\n"));
        }
        match self.files.get(path) {
            Some(content) => self.file(request, content.clone()),
            None => self.plain("404 Not Found", ""),
        }
    }

    fn plain(&self, status: &str, headers: &str) -> Answer {
        let body = b"<html>no</html>".to_vec();
        Answer {
            head: format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
                body.len()
            ),
            piece: body.len(),
            body,
            pace: Duration::ZERO,
        }
    }

    fn file(&mut self, request: &Request, content: Vec<u8>) -> Answer {
        let (validator, mut headers) = self.validator(&content);
        let asks =
            |name| request.header(name).is_some() && request.header(name) == validator.as_deref();
        if asks("if-none-match") || asks("if-modified-since") {
            return Answer {
                head: format!("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n{headers}\r\n"),
                body: Vec::new(),
                piece: 1,
                pace: Duration::ZERO,
            };
        }
        let from = request
            .header("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .filter(|_| self.ranges && (asks("if-range") || !self.heeds_conditions));
        let whole = content.len();
        let (status, mut body) = match from {
            Some(from) if from < whole => {
                if !self.tags_parts {
                    headers.clear();
                }
                let mut rest = content[from..].to_vec();
                rest.resize(rest.len() + self.excess, b'x');
                let range = format!("Content-Range: bytes {from}-{}/{whole}", whole - 1);
                (format!("206 Partial Content\r\n{range}"), rest)
            }
            Some(_) => return self.plain("416 Range Not Satisfiable", ""),
            None => ("200 OK".to_string(), content),
        };
        if let Some(encoding) = self.encoding {
            headers.push_str(&format!("Content-Encoding: {encoding}\r\n"));
        }
        let length = match self.tells_length {
            true => format!(
                "Content-Length: {}\r\n",
                self.claims.unwrap_or(body.len() as u64)
            ),
            false => String::new(),
        };
        if let Some((times, bytes)) = self.cut {
            body.truncate(bytes);
            self.cut = (times > 1).then_some((times - 1, bytes));
            if self.cut.is_none() {
                self.status = self.status_after_cut;
                self.silent = self.silent_after_cut;
            }
        }
        Answer {
            head: format!("HTTP/1.1 {status}\r\nConnection: close\r\n{length}{headers}\r\n"),
            piece: body.len().div_ceil(10).max(1),
            body,
            pace: self.pace,
        }
    }

    fn validator(&self, content: &[u8]) -> (Option<String>, String) {
        let tag = tag(content);
        match self.version {
            Version::Tag => (Some(tag.clone()), format!("ETag: {tag}\r\n")),
            Version::WeakTag => (None, format!("ETag: W/{tag}\r\n")),
            Version::Date => {
                let date = self.date.to_string();
                (Some(date.clone()), format!("Last-Modified: {date}\r\n"))
            }
            Version::Nothing => (None, String::new()),
        }
    }
}

fn tag(content: &[u8]) -> String {
    let sum = content.iter().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    format!("\"{sum:x}\"")
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut request = Request::default();
    reader.read_line(&mut request.line)?;
    request.line = request.line.trim_end().to_string();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                let name = name.to_ascii_lowercase();
                request.headers.insert(name, value.trim().to_string());
            }
            None => return Ok(request),
        }
    }
}
