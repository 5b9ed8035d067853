//! Where a model comes from: a path or a URL.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// A file of the system or of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Url(Url),
}

impl Source {
    /// The file's name.
    pub(crate) fn file_name(&self) -> Option<String> {
        match self {
            Source::File(path) => Some(path.file_name()?.to_str()?.to_string()),
            Source::Url(url) => {
                let last = url.path_segments()?.next_back()?;
                let name = percent_decode_str(last).decode_utf8().ok()?;
                (!name.is_empty()).then(|| name.into_owned())
            }
        }
    }

    /// What a manifest says of it, which is read in other folders, too.
    pub(crate) fn origin(&self) -> String {
        match self {
            Source::File(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            Source::Url(_) => self.to_string(),
        }
    }

    /// The file called `name` beside this one.
    pub(crate) fn beside(&self, name: &str) -> Source {
        match self {
            Source::File(path) => Source::File(path.with_file_name(name)),
            Source::Url(url) => {
                let mut url = url.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop().push(name);
                }
                Source::Url(url)
            }
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        match text.split_once("://") {
            Some((scheme, _)) if is_http(scheme) => match Url::parse(text) {
                Ok(url) if url.host().is_some() => Ok(Source::Url(url)),
                Ok(_) => Err("expected a URL with a host".to_string()),
                Err(error) => Err(format!(
                    "expected a URL, such as https://host/model.gguf: {error}"
                )),
            },
            // What is there is a path, whatever it looks like.
            Some((scheme, _)) if !std::path::Path::new(text).exists() => Err(format!(
                "expected a path or a URL of http or https, found one of `{}`",
                scheme.escape_debug()
            )),
            _ if text.is_empty() => Err("expected a path or a URL, found nothing".to_string()),
            _ => Ok(Source::File(PathBuf::from(text))),
        }
    }
}

/// Whether a URL of this scheme can be fetched.
pub(crate) fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// For people and for manifests: without a URL's secrets, which are its user, password and query.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Url(url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                // A URL with a host can do without them.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                write!(f, "{url}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn paths_and_urls() {
        assert_eq!(source("a/b.gguf"), Source::File(PathBuf::from("a/b.gguf")));
        assert!(matches!(source("HTTPS://host/b.gguf"), Source::Url(_)));
        for bad in [
            "",
            "ftp://host/b.gguf",
            "https://",
            "http:///",
            "https://[/a",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_files() {
        let name = |text| source(text).file_name();
        assert_eq!(name("a/b.gguf").as_deref(), Some("b.gguf"));
        assert_eq!(name(".."), None);
        let url = "https://host/a/my%20model.gguf?download=true#x";
        assert_eq!(name(url).as_deref(), Some("my model.gguf"));
        assert_eq!(name("https://host"), None);
        assert_eq!(name("https://host/a/"), None);
        assert_eq!(name("https://host/%ff"), None);
    }

    #[test]
    fn files_beside() {
        assert_eq!(source("a/b.xml").beside("b.bin"), source("a/b.bin"));
        assert_eq!(
            source("https://host/a/b%20c.xml?token=1").beside("b c.bin"),
            source("https://host/a/b%20c.bin?token=1")
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = source("https://me:secret@host/a/b.gguf?token=secret#x").to_string();
        assert_eq!(shown, "https://host/a/b.gguf");
    }
}
