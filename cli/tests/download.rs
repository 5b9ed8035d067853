//! `llm-wasi model add` with servers: downloads that are interrupted, changed, refused.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::server::{Server, Version};
use support::{Folder, PAGE, other, parts, sha256, size_of, text, tiny};

#[test]
fn a_download() {
    let folder = Folder::new();
    let server = Server::new(&[("/a/tiny.gguf", &tiny())]);
    let url = server.url("/a/tiny.gguf");
    let (_, told) = folder.succeed(&["model", "add", &url]);
    // Nothing but this where nobody watches: no bar, no control characters.
    assert_eq!(told, format!("added tiny (GGML, {})\n", size_of(&tiny())));
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    assert_eq!(
        folder.stored(),
        ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]
    );
    let (listed, _) = folder.succeed(&["model", "list"]);
    assert!(listed.contains(&url), "{listed}");
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "GET /a/tiny.gguf HTTP/1.1");
    assert_eq!(requests[0].header("range"), None);
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    let agent = requests[0].header("user-agent").expect("a name");
    assert!(agent.starts_with("llm-wasi/"), "{agent}");

    // The server says that it is still the same, and sends nothing.
    let (_, told) = folder.succeed(&["model", "add", &url]);
    assert!(told.starts_with("there already: tiny"), "{told}");
    assert_eq!(server.requests().iter().map(|r| r.sent).sum::<usize>(), 0);

    server
        .behaviour()
        .files
        .insert("/a/tiny.gguf".to_string(), other());
    let told = folder.fail(&["model", "add", &url]);
    assert!(told.contains("is stored already"), "{told}");
    assert!(told.contains("llm-wasi model remove tiny"), "{told}");
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[test]
fn an_interrupted_download_goes_on_where_it_ended() {
    for version in [Version::Tag, Version::Date] {
        let folder = Folder::new();
        let server = Server::new(&[("/tiny.gguf", &tiny())]);
        server.behaviour().version = version;
        let url = server.url("/tiny.gguf");
        interrupt(&folder, &server, &url, 100_000);
        assert_eq!(
            folder.read("models/.part/tiny/tiny.gguf.part"),
            tiny()[..100_000]
        );
        let (listed, _) = folder.succeed(&["model", "list"]);
        assert!(
            listed.contains("tiny  problem: it is unfinished"),
            "{listed}"
        );

        folder.succeed(&["model", "add", &url]);
        let requests = server.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].header("range"), Some("bytes=100000-"));
        assert!(requests[0].header("if-range").is_some());
        assert_eq!(requests[0].sent, tiny().len() - 100_000);
        assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
        assert_eq!(
            folder.stored(),
            ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]
        );
        let digest = sha256(&folder, "models/tiny/tiny.gguf");
        let manifest = text(&folder.read("models/tiny/manifest.json"));
        assert!(manifest.contains(&digest), "{manifest}");
    }
}

/// Runs a download that ends after so many bytes; then the server is good again, and forgets.
fn interrupt(folder: &Folder, server: &Server, url: &str, after: usize) {
    server.behaviour().cut = Some((1, after));
    // Else the connection would be made again.
    server.behaviour().falls_silent = true;
    let told = folder.fail(&["model", "add", url]);
    assert!(told.contains("next step:"), "{told}");
    server.behaviour().falls_silent = false;
    server.behaviour().silent = false;
    server.requests();
}

#[test]
fn a_connection_that_ends_early_is_made_again() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().cut = Some((3, 50_000));
    folder.succeed(&["model", "add", &server.url("/tiny.gguf")]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().map(|r| r.header("range")).collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=50000-"),
            Some("bytes=100000-"),
            Some("bytes=150000-")
        ]
    );
    assert_eq!(requests.iter().map(|r| r.sent).sum::<usize>(), tiny().len());
}

#[test]
fn a_connection_that_brings_nothing_is_not_made_for_ever() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().cut = Some((1000, 100));
    let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(
        told.contains("the connection ended after 1.1 KiB"),
        "{told}"
    );
    assert!(told.contains("it goes on from there"), "{told}");
    assert_eq!(server.requests().len(), 11);
    server.behaviour().silent = true;
    let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(told.contains("cannot be fetched"), "{told}");
}

#[test]
fn a_file_that_changes_meanwhile_begins_anew() {
    for heeds_conditions in [true, false] {
        let folder = Folder::new();
        let server = Server::new(&[("/tiny.gguf", &tiny())]);
        let url = server.url("/tiny.gguf");
        interrupt(&folder, &server, &url, 100_000);
        server.behaviour().heeds_conditions = heeds_conditions;
        server
            .behaviour()
            .files
            .insert("/tiny.gguf".to_string(), other());
        folder.succeed(&["model", "add", &url]);
        assert_eq!(folder.read("models/tiny/tiny.gguf"), other());
        let requests = server.requests();
        assert_eq!(requests[0].header("range"), Some("bytes=100000-"));
        assert_eq!(requests.last().expect("requests").sent, other().len());
    }
}

#[test]
fn a_file_that_became_shorter_begins_anew() {
    let folder = Folder::new();
    let mut long = tiny();
    long.extend([0; 1000]);
    let server = Server::new(&[("/tiny.gguf", &long)]);
    let url = server.url("/tiny.gguf");
    interrupt(&folder, &server, &url, tiny().len() + 10);
    // It does not look at the condition, and has no such bytes.
    server.behaviour().heeds_conditions = false;
    server
        .behaviour()
        .files
        .insert("/tiny.gguf".to_string(), tiny());
    folder.succeed(&["model", "add", &url]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[test]
fn without_ranges_or_versions_a_download_begins_anew() {
    for (version, ranges, asked) in [
        (Version::Tag, false, Some("bytes=100000-")),
        (Version::WeakTag, true, None),
        (Version::Nothing, true, None),
    ] {
        let folder = Folder::new();
        let server = Server::new(&[("/tiny.gguf", &tiny())]);
        let url = server.url("/tiny.gguf");
        server.behaviour().version = version;
        server.behaviour().ranges = ranges;
        interrupt(&folder, &server, &url, 100_000);
        folder.succeed(&["model", "add", &url]);
        let requests = server.requests();
        assert_eq!(requests[0].header("range"), asked);
        assert_eq!(requests[0].sent, tiny().len());
        assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    }
}

#[test]
fn a_file_that_is_whole_but_not_yet_stored_is_not_fetched_again() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    let add = |folder: &Folder| folder.succeed(&["model", "add", &url]);
    add(&folder);
    let manifest: serde_json::Value =
        serde_json::from_slice(&folder.read("models/tiny/manifest.json")).expect("JSON");
    folder.succeed(&["model", "remove", "tiny"]);
    server.requests();

    // As a process that was killed leaves it.
    let remote = serde_json::json!({
        "url": url,
        "validator": manifest["files"][0]["validator"],
        "size": tiny().len(),
    });
    folder.write("models/.part/tiny/tiny.gguf.part", tiny());
    folder.write("models/.part/tiny/tiny.gguf.json", remote.to_string());
    add(&folder);
    assert_eq!(server.requests().iter().map(|r| r.sent).sum::<usize>(), 0);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());

    // The same, but the server has another one by now.
    folder.succeed(&["model", "remove", "tiny"]);
    folder.write("models/.part/tiny/tiny.gguf.part", tiny());
    folder.write("models/.part/tiny/tiny.gguf.json", remote.to_string());
    server
        .behaviour()
        .files
        .insert("/tiny.gguf".to_string(), other());
    add(&folder);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), other());
}

#[test]
fn what_another_source_left_is_not_gone_on_with() {
    let folder = Folder::new();
    let server = Server::new(&[("/a/tiny.gguf", &tiny()), ("/b/tiny.gguf", &other())]);
    interrupt(&folder, &server, &server.url("/a/tiny.gguf"), 100_000);
    folder.succeed(&["model", "add", &server.url("/b/tiny.gguf")]);
    assert_eq!(server.requests()[0].header("range"), None);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), other());

    // What is no JSON is nothing to go on with, too.
    let folder = Folder::new();
    folder.write("models/.part/tiny/tiny.gguf.part", "GGUF of somebody else");
    folder.write("models/.part/tiny/tiny.gguf.json", "{");
    folder.write("models/.part/tiny/strange", "");
    folder.succeed(&["model", "add", &server.url("/a/tiny.gguf")]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    assert_eq!(
        folder.stored(),
        ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]
    );
}

#[test]
fn an_unfinished_download_can_be_removed() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    interrupt(&folder, &server, &server.url("/tiny.gguf"), 100_000);
    folder.succeed(&["model", "remove", "tiny"]);
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn a_length_that_is_not_told() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().tells_length = false;
    folder.succeed(&["model", "add", &server.url("/tiny.gguf")]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    // An early end looks like the end then, but the model does not.
    server.behaviour().cut = Some((1, 6000));
    let add = ["model", "add", &server.url("/tiny.gguf"), "--name", "half"];
    let told = folder.fail(&add);
    assert!(told.contains("the file ends inside"), "{told}");
}

#[test]
fn redirects_keep_what_was_asked_for() {
    let folder = Folder::new();
    let server = Server::new(&[("/cdn/4711", &tiny())]);
    let target = server.url("/cdn/4711?signature=x");
    server
        .behaviour()
        .redirects
        .insert("/tiny.gguf".to_string(), target);
    server.behaviour().cut = Some((1, 100_000));
    folder.succeed(&["model", "add", &server.url("/tiny.gguf")]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[3].line, "GET /cdn/4711?signature=x HTTP/1.1");
    assert_eq!(requests[3].header("range"), Some("bytes=100000-"));

    let circle = server.url("/a.gguf");
    server
        .behaviour()
        .redirects
        .insert("/a.gguf".to_string(), circle.clone());
    let told = folder.fail(&["model", "add", &circle]);
    assert!(told.contains("too many redirects"), "{told}");
}

#[test]
fn a_proxy_is_taken_from_the_environment() {
    let folder = Folder::new();
    let proxy = Server::new(&[("/tiny.gguf", &tiny())]);
    let mut command = folder.command(&["model", "add", "http://models.invalid/tiny.gguf"]);
    command.env("HTTP_PROXY", proxy.url(""));
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(proxy.requests()[0].header("host"), Some("models.invalid"));
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[test]
fn statuses_say_what_to_do_and_leave_nothing() {
    let folder = Folder::new();
    let server = Server::new(&[]);
    for (status, next_step) in [
        ("404 Not Found", "check the URL: nothing is there"),
        ("401 Unauthorized", "add it by its path"),
        ("403 Forbidden", "add it by its path"),
        ("429 Too Many Requests", "try again later"),
        ("503 Service Unavailable", "try again later"),
        ("204 No Content", "check the URL"),
        ("206 Partial Content", "check the URL"),
        ("416 Range Not Satisfiable", "check the URL"),
    ] {
        server.behaviour().status = Some(status);
        let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
        assert!(told.contains(status), "{told}");
        assert!(told.contains(next_step), "{told}");
        assert_eq!(folder.stored(), [""; 0], "{status}");
    }
    let told = folder.fail(&["model", "add", "http://127.0.0.1:1/tiny.gguf"]);
    assert!(told.contains("check the URL and the connection"), "{told}");
    let told = folder.fail(&["model", "add", "http://host.invalid/tiny.gguf"]);
    assert!(told.contains("check the URL and the connection"), "{told}");
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn a_server_that_does_not_speak_https() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "https://{}/tiny.gguf",
        listener.local_addr().expect("an address")
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut hello = [0; 5];
            let _ = stream.read_exact(&mut hello);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // To close at once could be faster than the answer.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let folder = Folder::new();
    let told = folder.fail(&["model", "add", &url]);
    assert!(
        told.contains("check whether the server speaks https"),
        "{told}"
    );
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn another_digest_leaves_nothing() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    let digest = sha256(&folder, "tiny.gguf");
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    let zeros = "0".repeat(64);
    for source in ["tiny.gguf", &url] {
        let told = folder.fail(&["model", "add", source, "--sha256", &zeros]);
        assert!(told.contains(&digest), "{told}");
        assert!(told.contains(&zeros), "{told}");
        assert_eq!(folder.stored(), [""; 0]);
    }
    folder.succeed(&["model", "add", &url, "--sha256", &digest]);
}

#[test]
fn what_is_no_model_is_refused_before_all_of_it_is_there() {
    let folder = Folder::new();
    let mut page = PAGE.as_bytes().to_vec();
    page.resize(64 << 20, b' ');
    let server = Server::new(&[("/tiny.gguf", &page), ("/small.onnx", PAGE.as_bytes())]);
    let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(told.contains("found a page of text"), "{told}");
    assert!(server.requests()[0].sent < page.len() / 2);
    assert_eq!(folder.stored(), [""; 0]);
    let told = folder.fail(&["model", "add", &server.url("/small.onnx")]);
    assert!(told.contains("found a page of text"), "{told}");
    assert_eq!(folder.stored(), [""; 0]);

    // A good start, and no more.
    let mut damaged = tiny();
    damaged.truncate(6000);
    server
        .behaviour()
        .files
        .insert("/tiny.gguf".to_string(), damaged);
    let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(told.contains("the file ends inside"), "{told}");
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn secrets_of_a_url_are_not_kept() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server
        .url("/tiny.gguf?token=secret")
        .replace("http://", "http://me:secret@");
    interrupt(&folder, &server, &url, 100_000);
    let remote = text(&folder.read("models/.part/tiny/tiny.gguf.json"));
    assert!(!remote.contains("secret"), "{remote}");
    let (_, told) = folder.succeed(&["-vvv", "model", "add", &url]);
    assert!(!told.contains("secret"), "{told}");
    assert_eq!(
        server.requests()[0].line,
        "GET /tiny.gguf?token=secret HTTP/1.1"
    );
    let manifest = text(&folder.read("models/tiny/manifest.json"));
    assert!(!manifest.contains("secret"), "{manifest}");
}

#[test]
fn split_models_come_from_servers_too() {
    let folder = Folder::new();
    let parts = parts();
    let server = Server::new(&[
        ("/big-00001-of-00003.gguf", &parts[0]),
        ("/big-00002-of-00003.gguf", &parts[1]),
    ]);
    let url = server.url("/big-00001-of-00003.gguf");
    let told = folder.fail(&["model", "add", &url]);
    assert!(
        told.contains("/big-00003-of-00003.gguf cannot be fetched: 404"),
        "{told}"
    );
    let path = "/big-00003-of-00003.gguf".to_string();
    server.behaviour().files.insert(path, parts[2].clone());
    server.requests();
    // What was there is only asked about.
    folder.succeed(&["model", "add", &url]);
    let sent: Vec<_> = server.requests().iter().map(|r| r.sent).collect();
    assert_eq!(sent, [0, 0, parts[2].len()]);
    for (index, part) in parts.iter().enumerate() {
        let name = format!("models/big/big-0000{}-of-00003.gguf", index + 1);
        assert_eq!(folder.read(&name), *part);
    }
}

#[test]
fn two_at_once_are_one() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().pace = Duration::from_millis(50);
    let url = server.url("/tiny.gguf");
    let add = || {
        let mut command = folder.command(&["model", "add", &url]);
        command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    };
    let children = [add(), add(), add()];
    let mut told: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stderr)
        })
        .collect();
    told.sort();
    assert!(told[0].starts_with("added tiny"), "{told:?}");
    for waited in &told[1..] {
        assert!(
            waited.starts_with("waiting for another llm-wasi"),
            "{told:?}"
        );
        assert!(waited.contains("there already: tiny"), "{told:?}");
    }
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    let sent: usize = server.requests().iter().map(|r| r.sent).sum();
    assert_eq!(sent, tiny().len());
}

#[cfg(unix)]
#[test]
fn a_disk_without_room() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    for source in ["tiny.gguf", &url] {
        // Larger files cannot be written, as on a file system that does not allow them.
        let script = format!(
            "trap '' XFSZ; ulimit -f 100; exec '{}' model add {source}",
            env!("CARGO_BIN_EXE_llm-wasi")
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let output = folder.prepare(command).output().expect("a shell");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("cannot write models/.part/tiny/tiny.gguf.part"),
            "{told}"
        );
        assert!(told.contains("ulimit -f"), "{told}");
    }
    // The download goes on.
    folder.succeed(&["model", "add", &url]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_shows_how_far_a_download_is() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().pace = Duration::from_millis(50);
    let line = format!("model add {}", server.url("/tiny.gguf"));
    let Some(shown) = support::on_a_terminal(&folder, &line) else {
        return;
    };
    assert!(shown.contains("tiny [="), "{shown:?}");
    assert!(shown.contains("KiB/s"), "{shown:?}");
    // The bar is gone before the result is told.
    let (_, last) = shown.trim_end().rsplit_once("\r\x1b[2K").expect("a bar");
    assert!(last.contains("added"), "{shown:?}");
    assert!(!last.contains("KiB/s"), "{shown:?}");
}
