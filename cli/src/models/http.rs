//! Requests to servers, and what their answers mean to people.

use crate::failure::Failure;
use crate::models::redirect;
use crate::models::retry::{self, End, span};
use crate::models::source::Source;
use crate::text::plain;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};
use url::Url;

/// How long to wait for a connection, and then for each further sign of life.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);
/// How often a server may lead elsewhere.
const REDIRECTS: usize = 10;
/// The encoding of a file that is sent as it is.
const IDENTITY: &str = "identity";

/// By what a server tells versions of a file apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Validator {
    Etag(String),
    LastModified(String),
}

impl Validator {
    /// A weak tag does not promise equal bytes, so it is none.
    pub(crate) fn of(response: &Response<Body>) -> Option<Validator> {
        match text(response, header::ETAG) {
            Some(tag) if tag.starts_with('"') => Some(Validator::Etag(tag.to_string())),
            _ => text(response, header::LAST_MODIFIED)
                .map(|date| Validator::LastModified(date.to_string())),
        }
    }

    /// The value for `If-Range`.
    pub(crate) fn value(&self) -> &str {
        match self {
            Validator::Etag(text) | Validator::LastModified(text) => text,
        }
    }

    /// The header that asks for a file only if it is another one.
    fn unless(&self) -> header::HeaderName {
        match self {
            Validator::Etag(_) => header::IF_NONE_MATCH,
            Validator::LastModified(_) => header::IF_MODIFIED_SINCE,
        }
    }
}

/// A header's text.
pub(crate) fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Asks servers for files. A proxy is taken from the environment, trusted certificates from the system.
pub(crate) struct Http(Agent);

impl Http {
    /// For files of this URL: one of https is never left for http, wherever the server leads.
    pub(crate) fn new(url: &Url) -> Http {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(url.scheme() == "https")
            .tls_config(tls)
            .user_agent(concat!("llm-wasi/", env!("CARGO_PKG_VERSION")))
            .accept_encoding(IDENTITY)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Http(config.new_agent())
    }

    /// Asks for the file; with what is there of it, only for the rest, if that is of the same version.
    pub(crate) fn get(
        &self,
        url: &Url,
        rest: Option<(u64, &Validator)>,
    ) -> Result<Response<Body>, End> {
        match rest {
            Some((from, validator)) => self.ask(
                url,
                &[
                    (header::RANGE, &format!("bytes={from}-")),
                    (header::IF_RANGE, validator.value()),
                ],
            ),
            None => self.ask(url, &[]),
        }
    }

    /// Whether the server's file is still the one of this validator.
    pub(crate) fn is_unchanged(&self, url: &Url, validator: &Validator) -> Result<bool, End> {
        let response = self.ask(url, &[(validator.unless(), validator.value())])?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(true),
            // Not every server knows the condition.
            StatusCode::OK => Ok(Validator::of(&response).as_ref() == Some(validator)),
            _ => Err(refused(url, &response)),
        }
    }

    fn ask(
        &self,
        url: &Url,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<Response<Body>, End> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.0.get(at.as_str());
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            let response = request.call().map_err(|error| unreachable(url, &error))?;
            match redirect::target(&at, &response).map_err(End::Lasting)? {
                Some(next) => at = next,
                None => return Ok(response),
            }
        }
        Err(End::Lasting(
            Failure::new(format!(
                "{} cannot be fetched: too many redirects",
                shown(url)
            ))
            .expected(format!("at most {REDIRECTS}"))
            .next_step("check the URL: it may lead in a circle"),
        ))
    }
}

fn unreachable(url: &Url, error: &ureq::Error) -> End {
    let next_step = match error {
        ureq::Error::Timeout(_) => "try again later",
        ureq::Error::RequireHttpsOnly(_) => {
            "the server leads from https to http, where anybody can change the file: give the URL it \
             leads to, with --sha256, if you want that"
        }
        // What TLS does not like arrives like this.
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            "check whether the server speaks https, the system's clock, and its trusted certificates; \
             SSL_CERT_FILE names others"
        }
        _ => "check the URL and the connection; HTTPS_PROXY and NO_PROXY are heeded",
    };
    let failure = Failure::new(format!("{} cannot be fetched", shown(url)))
        .cause(error)
        .next_step(next_step);
    let passing = match error {
        ureq::Error::Io(error) => error.kind() != ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    match passing {
        true => End::Unreachable(failure),
        false => End::Lasting(failure),
    }
}

/// What to do about a status that is not the file.
pub(crate) fn refused(url: &Url, response: &Response<Body>) -> End {
    let status = response.status();
    let failure = Failure::new(format!("{} cannot be fetched: {status}", shown(url)))
        .expected("200 OK with the file");
    if matches!(status.as_u16(), 408 | 429 | 500..) {
        let after = retry::after(response);
        return End::Passing {
            failure: failure.next_step(match after {
                Some(after) => format!("try again in {}, as the server asks", span(after)),
                None => "try again later".to_string(),
            }),
            after,
        };
    }
    End::Lasting(failure.next_step(match status.as_u16() {
        401 | 403 => {
            "the server wants to know who asks: fetch the file with its owner's tools, and add it by its \
             path"
        }
        404 | 410 => "check the URL: nothing is there",
        _ => "check the URL",
    }))
}

/// Fails if a file is not sent as it is.
pub(crate) fn check_encoding(url: &Url, response: &Response<Body>) -> Result<(), Failure> {
    for encoding in response.headers().get_all(header::CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(IDENTITY) {
            return Err(Failure::new(format!(
                "{} is sent with the content encoding `{}`",
                shown(url),
                plain(&encoding)
            ))
            .expected("the file as it is, which was asked for (`Accept-Encoding: identity`)")
            .next_step(
                "fetch the file with another tool that decodes it, and add it by its path",
            ));
        }
    }
    Ok(())
}

/// A URL without its secrets.
pub(crate) fn shown(url: &Url) -> Source {
    Source::Url(url.clone())
}
