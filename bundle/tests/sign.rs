//! Signatures: whose they are, and what they are of.

mod support;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use llm_wasi_bundle::sign::{SigningKey, TrustedKey, key_id};
use support::{Keys, bundle, contents, keys, read, sections, write};

fn trusted(keys: &Keys) -> TrustedKey {
    keys.public_text.parse().expect("a key")
}

fn refused(bytes: &[u8], keys: &[TrustedKey]) -> String {
    let checked = read(bytes).and_then(|bundle| bundle.check_signature(keys));
    checked.expect_err("it is not refused").to_string()
}

#[test]
fn a_signature_counts_for_its_key_and_its_index() {
    let (ours, others) = (keys(), keys());
    let bytes = write(&contents(), 400, Some(&ours.secret)).unwrap();
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&bytes)
        .expect("a valid component");
    let mut signed = read(&bytes).unwrap();
    signed.check_signature(&[trusted(&ours)]).unwrap();
    signed
        .check_signature(&[trusted(&others), trusted(&ours)])
        .unwrap();
    signed.verify(&mut |_| {}).unwrap();
    let signature = signed.signature().expect("a signature").to_string();
    let id = key_id(&signature).expect("a key");
    assert!(ours.public_text.contains(&id), "{id}");

    assert!(refused(&bytes, &[trusted(&others)]).contains("another key"));
    assert!(refused(&bytes, &[]).contains("another key"));
    assert!(refused(&bundle(), &[trusted(&ours)]).contains("no signature"));

    // The same signature before another index.
    let other = write(&contents(), 300, Some(&ours.secret)).unwrap();
    let other_signature = read(&other).unwrap().signature().unwrap().to_string();
    let at = find(&bytes, signature.as_bytes());
    let mut forged = bytes.clone();
    forged[at..at + signature.len()].copy_from_slice(other_signature.as_bytes());
    assert!(refused(&forged, &[trusted(&ours)]).contains("signature is wrong"));

    // Every line of it counts but the first, which is nobody's.
    let first_line = signature.find('\n').expect("a line");
    for offset in (first_line + 1..signature.len() - 1).step_by(7) {
        let mut changed = bytes.clone();
        changed[at + offset] ^= 1;
        let checked = read(&changed).and_then(|b| b.check_signature(&[trusted(&ours)]));
        assert!(checked.is_err(), "{offset}");
    }
    for length in [0, 1, 30, signature.len() - 3] {
        let text = &signature[..length];
        assert_eq!(key_id(text), None, "{length}");
    }
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    let mut windows = bytes.windows(part.len());
    windows
        .position(|window| window == part)
        .expect("it is there")
}

#[test]
fn a_signature_that_was_taken_away() {
    let ours = keys();
    let bytes = write(&contents(), 400, Some(&ours.secret)).unwrap();
    let found = sections(&bytes);
    assert_eq!(found[1].1, "llm-wasi:signature");
    // Index and signature are exchanged for those of the bundle without one.
    assert!(refused(&bundle(), &[trusted(&ours)]).contains("no signature"));
    // What stands before the parts would have to move, too.
    let text = read(&bytes).unwrap().signature().unwrap().len();
    let end = found[1].0 + 7 + found[1].1.len() + text;
    let mut without = bytes[..found[1].0].to_vec();
    without.extend(&bytes[end..]);
    assert!(read(&without).is_err());
}

#[test]
fn keys_are_what_minisign_writes() {
    let ours = keys();
    let base64 = ours.public_text.lines().nth(1).expect("a key");
    assert!(base64.parse::<TrustedKey>().is_ok());
    for bad in [
        "",
        "x",
        "untrusted comment: x\n",
        &ours.secret_text,
        "a\nb\nc",
    ] {
        assert!(bad.parse::<TrustedKey>().is_err(), "{bad}");
    }
    // As the tool writes one without a password: the checksum is zeros.
    let mut lines = ours.secret_text.lines();
    let (comment, key) = (lines.next().unwrap(), lines.next().unwrap());
    let mut bytes = BASE64_STANDARD.decode(key).unwrap();
    let checksum = bytes.len() - 32;
    bytes[checksum..].fill(0);
    let text = |bytes: &[u8]| format!("{comment}\n{}\n", BASE64_STANDARD.encode(bytes));
    let key = SigningKey::parse(&text(&bytes), None).unwrap();
    let signed = write(&contents(), 400, Some(&key)).unwrap();
    read(&signed)
        .unwrap()
        .check_signature(&[trusted(&ours)])
        .unwrap();
    // The secret starts behind algorithms, the parameters of the password, and the number.
    bytes[70] ^= 1;
    let damaged = SigningKey::parse(&text(&bytes), None).unwrap();
    assert!(write(&contents(), 400, Some(&damaged)).is_err());
    for bad in ["", "x", "a\nb", &ours.public_text] {
        assert!(SigningKey::parse(bad, None).is_err(), "{bad}");
    }
}

#[test]
fn a_key_with_a_password() {
    let pair = minisign::KeyPair::generate_encrypted_keypair(Some("open".to_string())).unwrap();
    let text = pair.sk.to_box(None).unwrap().to_string();
    assert!(SigningKey::parse(&text, Some("wrong".to_string())).is_err());
    let key = SigningKey::parse(&text, Some("open".to_string())).unwrap();
    let bytes = write(&contents(), 400, Some(&key)).unwrap();
    let public: TrustedKey = pair.pk.to_box().unwrap().to_string().parse().unwrap();
    read(&bytes).unwrap().check_signature(&[public]).unwrap();
}
