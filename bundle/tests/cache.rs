//! Unpacking: once, whole, and again when something has changed.

mod support;

use llm_wasi_bundle::{Bundle, Cache, Digest, Unpacked};
use std::fs;
use std::path::{Path, PathBuf};
use support::{bundle, contents, write};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(TempDir::new().expect("a folder"));
        fs::write(folder.bundle(), bundle()).expect("a bundle");
        folder
    }

    fn bundle(&self) -> PathBuf {
        self.0.path().join("bundle.wasm")
    }

    fn cache(&self) -> Cache {
        Cache::new(self.0.path().join("cache"))
    }

    fn unpack(&self, verify: bool) -> Unpacked {
        let mut bundle = open(&self.bundle());
        let model = bundle.index().models[1].clone();
        self.cache()
            .unpack(&mut bundle, &model, verify, &mut || {}, &mut |_| {})
            .expect("it is unpacked")
    }
}

/// Writes a file at another time than before, as far as the system's clock can tell.
fn overwrite(path: &Path, bytes: &[u8]) {
    std::thread::sleep(std::time::Duration::from_millis(30));
    fs::write(path, bytes).expect("a file");
}

fn open(path: &Path) -> Bundle<fs::File> {
    Bundle::open(path).expect("it is read").expect("a bundle")
}

fn assert_good(unpacked: &Unpacked) {
    for (path, (name, expected)) in unpacked.files.iter().zip(&contents()[1].files) {
        assert!(path.ends_with(name), "{}", path.display());
        assert_eq!(fs::read(path).expect("a file"), *expected);
    }
}

#[test]
fn a_model_is_unpacked_once() {
    let folder = Folder::new();
    let first = folder.unpack(false);
    assert!(first.now && !first.repaired);
    assert_good(&first);
    let written = fs::metadata(&first.files[0]).unwrap().modified().unwrap();
    for verify in [false, true] {
        let again = folder.unpack(verify);
        assert!(!again.now && !again.repaired);
        assert_eq!(again.files, first.files);
    }
    let same = fs::metadata(&first.files[0]).unwrap().modified().unwrap();
    assert_eq!(same, written);
    // Another bundle with the same model has the same files.
    fs::write(folder.bundle(), write(&contents(), 90, None).unwrap()).unwrap();
    let other = folder.unpack(false);
    assert!(!other.now);
    assert_eq!(other.files, first.files);
    let left: Vec<_> = fs::read_dir(folder.0.path().join("cache/.part"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn files_that_changed_are_unpacked_again() {
    let folder = Folder::new();
    let files = folder.unpack(false).files;
    let good = fs::read(&files[0]).unwrap();
    let mut bad = good.clone();
    bad[7] ^= 1;
    for wrong in [&bad[..], &good[..10], b""] {
        overwrite(&files[0], wrong);
        let again = folder.unpack(false);
        assert!(again.now && again.repaired);
        assert_good(&again);
    }
    fs::remove_file(&files[1]).unwrap();
    assert!(folder.unpack(false).repaired);
    // The same content, written again, is read and found good.
    overwrite(&files[0], &good);
    let again = folder.unpack(false);
    assert!(!again.now && !again.repaired);
    // So is one whose record is gone.
    fs::remove_file(files[0].with_file_name(".checked.json")).unwrap();
    let again = folder.unpack(false);
    assert!(!again.now && !again.repaired);
    assert_good(&folder.unpack(false));
}

#[test]
fn what_a_process_has_left_is_in_nobodys_way() {
    let folder = Folder::new();
    let place = folder.unpack(false).files[0]
        .parent()
        .unwrap()
        .to_path_buf();
    let key = place.file_name().unwrap();
    fs::remove_dir_all(&place).unwrap();
    let stage = folder.0.path().join("cache/.part").join(key);
    fs::create_dir_all(&stage).unwrap();
    fs::write(stage.join("classifier.xml"), "half").unwrap();
    assert_good(&folder.unpack(false));
}

#[test]
fn several_at_once() {
    let folder = Folder::new();
    let unpacked: Vec<Unpacked> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| folder.unpack(false)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(unpacked.iter().filter(|one| one.now).count(), 1);
    for one in &unpacked {
        assert_good(one);
    }
}

#[test]
fn a_damaged_bundle_leaves_nothing() {
    let folder = Folder::new();
    let mut bytes = bundle();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.bundle(), bytes).unwrap();
    let mut bundle = open(&folder.bundle());
    let model = bundle.index().models[1].clone();
    let error = folder
        .cache()
        .unpack(&mut bundle, &model, false, &mut || {}, &mut |_| {})
        .expect_err("it is damaged");
    assert!(error.to_string().contains("classifier.bin"), "{error}");
    let names: Vec<_> = fs::read_dir(folder.0.path().join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names.iter().all(|name| name == ".part" || name == ".locks"),
        "{names:?}"
    );
    let left: Vec<_> = fs::read_dir(folder.0.path().join("cache/.part"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_bundle_is_known_until_it_changes() {
    let folder = Folder::new();
    let path = folder.bundle();
    let cache = folder.cache();
    assert!(!cache.look(&path, &open(&path)).is_known());
    cache.remember(&cache.look(&path, &open(&path))).unwrap();
    assert!(cache.look(&path, &open(&path)).is_known());
    // The same bytes, written again: who knows?
    overwrite(&path, &bundle());
    assert!(!cache.look(&path, &open(&path)).is_known());
    cache.remember(&cache.look(&path, &open(&path))).unwrap();
    assert!(cache.look(&path, &open(&path)).is_known());
    let mut bytes = bundle();
    *bytes.last_mut().unwrap() ^= 1;
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    overwrite(&path, &bytes);
    // Whoever changed it has set the time back.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(cache.look(&path, &open(&path)).is_known(), !cfg!(unix));
}

/// Unpacked files are found by what the index says of them, so whoever says so must be right: another bundle, perhaps
/// one that is signed, would get them.
#[test]
fn no_bundle_unpacks_what_another_one_takes_for_its_own() {
    let honest = contents()[1].files[0].1.clone();
    let mut others = contents();
    others[1].files[0].1.reverse();
    for part_size in [64, 4096] {
        let folder = Folder::new();
        let forged = forge(
            &write(&others, part_size, None).expect("a bundle"),
            &others[1].files[0].1,
            &honest,
        );
        fs::write(folder.bundle(), forged).expect("a bundle");
        let refused = match Bundle::open(&folder.bundle()) {
            // Of one part, the index itself tells.
            Err(error) => error.to_string(),
            Ok(bundle) => {
                let mut bundle = bundle.expect("a bundle");
                let model = bundle.index().models[1].clone();
                let file = &model.files[0];
                let mut copied = Vec::new();
                assert!(bundle.copy(&model, file, &mut copied, &mut |_| {}).is_err());
                assert!(bundle.verify(&mut |_| {}).is_err());
                folder
                    .cache()
                    .unpack(&mut bundle, &model, false, &mut || {}, &mut |_| {})
                    .expect_err("it is refused")
                    .to_string()
            }
        };
        assert!(refused.contains("classifier.xml"), "{refused}");
        fs::write(folder.bundle(), bundle()).expect("a bundle");
        let unpacked = folder.unpack(false);
        assert!(unpacked.now && !unpacked.repaired);
        assert_good(&unpacked);
    }
}

/// A bundle that says of the file with these bytes that it is another one.
fn forge(bundle: &[u8], bytes: &[u8], claimed: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| Digest::of(bytes).to_string();
    let find = |within: &[u8], what: &[u8]| {
        within
            .windows(what.len())
            .position(|window| window == what)
            .expect("it is there")
    };
    let start = find(bundle, b"\n{\"version\"") + 1;
    let mut index = serde_json::Deserializer::from_slice(&bundle[start..]).into_iter();
    let _: serde_json::Value = index.next().expect("an index").expect("it parses");
    let end = start + index.byte_offset();
    let json = String::from_utf8(bundle[start..end].to_vec()).expect("it is text");
    // The file's comes before those of its parts.
    let json = json.replacen(&text(bytes), &text(claimed), 1);
    let mut forged = bundle.to_vec();
    forged[start..end].copy_from_slice(json.as_bytes());
    forged[start - 65..start - 1].copy_from_slice(text(json.as_bytes()).as_bytes());
    forged
}
