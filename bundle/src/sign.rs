//! Signatures as [minisign](https://jedisct1.github.io/minisign/) makes them: Ed25519, with keys and signatures
//! in its formats.
//!
//! What is signed is the index's JSON, and so all that it names. Two crates of minisign's author do it: one that
//! has keys with passwords makes signatures, and one without any dependency checks them.

use crate::error::Error;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use minisign::{PublicKey as PublicKeyOf, SecretKey, SecretKeyBox, SignatureBox};
use minisign_verify::{PublicKey, Signature};
use std::io::Cursor;

/// What a signature says of itself; the signature is one of this too.
const COMMENT: &str = "llm-wasi bundle";

/// A key that signs.
pub struct SigningKey(SecretKey);

impl SigningKey {
    /// Reads the text of a key file. Without a password it is asked for on the terminal, if one is needed.
    ///
    /// # Errors
    /// If it is no key, or if the password is wrong.
    pub fn parse(text: &str, password: Option<String>) -> Result<SigningKey, Error> {
        // The first line is a comment.
        let base64 = text.lines().nth(1).unwrap_or_default().trim();
        let bytes = BASE64_STANDARD
            .decode(base64)
            .map_err(|error| no_key(&error))?;
        let key = SecretKey::from_bytes(&bytes).map_err(|error| no_key(&error))?;
        if !key.is_encrypted() {
            // The tool does not write the checksum of a key without a password: the signature will tell.
            return Ok(SigningKey(key));
        }
        SecretKeyBox::from(text.to_string())
            .into_secret_key(password)
            .map(SigningKey)
            .map_err(|error| no_key(&error))
    }

    pub(crate) fn sign(&self, json: &[u8]) -> Result<String, Error> {
        let public = PublicKeyOf::from_secret_key(&self.0).map_err(|error| no_key(&error))?;
        let signed = minisign::sign(
            // Of a key that is damaged the signature is none by this one.
            Some(&public),
            &self.0,
            Cursor::new(json),
            Some(COMMENT),
            Some(COMMENT),
        );
        match signed {
            Ok(signature) => Ok(signature.into_string()),
            Err(error) => Err(Error::new(format!("the bundle cannot be signed: {error}"))),
        }
    }
}

fn no_key(error: &dyn std::error::Error) -> Error {
    Error::new(format!("the key cannot be used: {error}"))
        .expected("a secret key, as `minisign -G` makes it, and its password if it has one")
}

/// A key whose signatures count.
#[derive(Clone, Debug)]
pub struct TrustedKey(PublicKey);

impl std::str::FromStr for TrustedKey {
    type Err = Error;

    /// Reads the text of a key file, or the key alone in base64.
    fn from_str(text: &str) -> Result<TrustedKey, Error> {
        let text = text.trim();
        let key = match text.lines().count() {
            1 => PublicKey::from_base64(text),
            _ => PublicKey::decode(text),
        };
        key.map(TrustedKey).map_err(|_| {
            Error::new("this is no public key")
                .expected("a public key, as `minisign -G` makes it: the file, or its second line")
        })
    }
}

/// The number of the key that made a signature, as minisign prints it; nothing if it is none.
pub fn key_id(signature: &str) -> Option<String> {
    let signature = SignatureBox::from_string(signature).ok()?;
    let number = signature.keynum().try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(number)))
}

/// Checks that one of these keys has signed the index.
pub(crate) fn check(signature: &str, json: &[u8], keys: &[TrustedKey]) -> Result<(), Error> {
    let Ok(signature) = Signature::decode(signature) else {
        return Err(unsigned("the bundle's signature is damaged"));
    };
    let mut other = true;
    for TrustedKey(key) in keys {
        match key.verify(json, &signature, false) {
            Ok(()) => return Ok(()),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(_) => other = false,
        }
    }
    Err(unsigned(match other {
        true => "the bundle is signed with another key",
        false => "the bundle's signature is wrong: it is not one of this index by this key",
    }))
}

pub(crate) fn unsigned(found: &str) -> Error {
    Error::new(found)
        .expected("a signature by a trusted key")
        .next_step("get the bundle from whoever has the key; without --trusted-key none is needed")
}
