//! Where a server's answer leads instead of to a file.

use crate::failure::Failure;
use crate::models::http::shown;
use crate::models::source::is_http;
use crate::text::plain;
use ureq::Body;
use ureq::http::{Response, header};
use url::Url;

/// The URL to which the answer of `at` leads; nothing if it leads nowhere.
pub(crate) fn target(at: &Url, response: &Response<Body>) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    match response.headers().get(header::LOCATION) {
        Some(location) => join(at, &String::from_utf8_lossy(location.as_bytes())).map(Some),
        None => Ok(None),
    }
}

/// `http` accepts less as a URL than servers send, and takes the rest for paths: `url` does what browsers do.
fn join(at: &Url, location: &str) -> Result<Url, Failure> {
    let failure = || {
        // What may be secret in a URL is in its query.
        let told = location.split('?').next().unwrap_or_default();
        Failure::new(format!("{} leads to `{}`", shown(at), plain(told)))
            .expected("a redirect to a URL of http or https")
            .next_step("check the URL, or give the one under which the file is")
    };
    match at.join(location) {
        Ok(url) if is_http(url.scheme()) => Ok(url),
        Ok(_) => Err(failure()),
        Err(error) => Err(failure().cause(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(location: &str) -> Result<String, String> {
        let at = Url::parse("https://host/a/b.gguf?x=1").unwrap();
        match join(&at, location) {
            Ok(url) => Ok(url.to_string()),
            Err(failure) => Err(failure.line()),
        }
    }

    #[test]
    fn urls_and_paths() {
        for (location, url) in [
            ("https://cdn/c?signature=x", "https://cdn/c?signature=x"),
            ("HTTP://cdn/c", "http://cdn/c"),
            ("//cdn/c", "https://cdn/c"),
            ("/c", "https://host/c"),
            ("c", "https://host/a/c"),
            ("../../c", "https://host/c"),
        ] {
            assert_eq!(joined(location).as_deref(), Ok(url), "{location}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for (location, told) in [
            ("file:///etc/passwd", "leads to `file:///etc/passwd`"),
            ("ftp://host/c?secret", "leads to `ftp://host/c`"),
            (
                "http://[bad",
                "leads to `http://[bad`: invalid IPv6 address",
            ),
            ("javascript:\x1balert()", "leads to `javascript:alert()`"),
        ] {
            let failure = joined(location).unwrap_err();
            assert!(failure.contains(told), "{failure}");
        }
    }
}
