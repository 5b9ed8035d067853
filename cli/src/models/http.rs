//! Requests to servers, and what their answers mean to people.

use crate::failure::Failure;
use crate::models::source::Source;
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
            .accept_encoding("identity")
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
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.0.get(url.as_str());
        if let Some((from, validator)) = rest {
            request = request
                .header(header::RANGE, format!("bytes={from}-"))
                .header(header::IF_RANGE, validator.value());
        }
        request.call().map_err(|error| unreachable(url, &error))
    }

    /// Whether the server's file is still the one of this validator.
    pub(crate) fn is_unchanged(&self, url: &Url, validator: &Validator) -> Result<bool, Failure> {
        let response = self
            .0
            .get(url.as_str())
            .header(validator.unless(), validator.value())
            .call()
            .map_err(|error| unreachable(url, &error))?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(true),
            // Not every server knows the condition.
            StatusCode::OK => Ok(Validator::of(&response).as_ref() == Some(validator)),
            status => Err(refused(url, status)),
        }
    }
}

fn unreachable(url: &Url, error: &ureq::Error) -> Failure {
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
    Failure::new(format!("{} cannot be fetched", shown(url)))
        .cause(error)
        .next_step(next_step)
}

/// What to do about a status that is not the file.
pub(crate) fn refused(url: &Url, status: StatusCode) -> Failure {
    let next_step = match status.as_u16() {
        401 | 403 => {
            "the server wants to know who asks: fetch the file with its owner's tools, and add it by its \
             path"
        }
        404 | 410 => "check the URL: nothing is there",
        408 | 429 | 500.. => "try again later; what has arrived is kept",
        _ => "check the URL",
    };
    Failure::new(format!("{} cannot be fetched: {status}", shown(url)))
        .expected("200 OK with the file")
        .next_step(next_step)
}

/// A URL without its secrets.
pub(crate) fn shown(url: &Url) -> Source {
    Source::Url(url.clone())
}
