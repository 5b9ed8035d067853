//! Texts that are compared with committed files; `BLESS=1` writes them.

use std::path::Path;

/// Compares with `tests/snapshots/NAME`.
///
/// # Panics
/// If they differ: says where.
pub fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("snapshots")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the snapshots' folder can be made");
        }
        std::fs::write(&path, text).expect("the snapshot can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{name}: {error}: run the tests with BLESS=1"));
    if expected == text {
        return;
    }
    let lines = expected.lines().zip(text.lines());
    let same = lines.take_while(|(a, b)| a == b).count();
    panic!(
        "{name} differs from line {}:\nexpected: {}\nfound:    {}\nIf it is right, run the tests with BLESS=1.",
        same + 1,
        expected.lines().nth(same).unwrap_or("(the end)"),
        text.lines().nth(same).unwrap_or("(the end)")
    );
}
