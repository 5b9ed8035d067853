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
        let told = interrupt(&folder, &server, &url, 100_000);
        assert!(
            told.contains(
                "run the command again in 60 minutes, as the server asks: it goes on from there"
            ),
            "{told}"
        );
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
fn interrupt(folder: &Folder, server: &Server, url: &str, after: usize) -> String {
    server.behaviour().cut = Some((1, after));
    // Else the connection would be made again.
    refuse_after_cut(server);
    let told = folder.fail(&["model", "add", url]);
    recover(server);
    told
}

/// After the next answer that ends early the server asks for a pause that nobody waits for.
fn refuse_after_cut(server: &Server) {
    server.behaviour().status_after_cut = Some((usize::MAX, "503 Service Unavailable"));
    server.behaviour().retry_after = Some("3600");
}

fn recover(server: &Server) {
    let mut behaviour = server.behaviour();
    behaviour.status = None;
    behaviour.status_after_cut = None;
    behaviour.retry_after = None;
    drop(behaviour);
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
fn a_connection_is_made_again_as_long_as_each_brings_something() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().cut = Some((1000, 10_000));
    let (_, told) = folder.succeed(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(told.starts_with("added tiny"), "{told}");
    assert_eq!(server.requests().len(), tiny().len().div_ceil(10_000));
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[test]
fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    server.behaviour().cut = Some((1, 100_000));
    server.behaviour().silent_after_cut = 1;
    let (_, told) = folder.succeed(&["model", "add", &url]);
    assert!(
        told.contains(&format!("waiting 1 second before asking for {url} again")),
        "{told}"
    );
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    let requests = server.requests();
    assert_eq!(requests[1].header("range"), Some("bytes=100000-"));

    // Who never answered may not be there at all.
    server.behaviour().silent = 1;
    let told = folder.fail(&["model", "add", &url, "--name", "again"]);
    assert!(told.contains("cannot be fetched"), "{told}");
    assert!(told.contains("check the URL and the connection"), "{told}");
    assert_eq!(server.behaviour().silent, 0);
}

#[test]
fn statuses_that_pass_are_asked_about_again() {
    for (at_first, after_cut) in [(2, 0), (0, 3)] {
        for status in ["429 Too Many Requests", "500 Internal Server Error"] {
            let folder = Folder::new();
            let server = Server::new(&[("/tiny.gguf", &tiny())]);
            let times = |times| (times > 0).then_some((times, status));
            server.behaviour().status = times(at_first);
            server.behaviour().status_after_cut = times(after_cut);
            server.behaviour().cut = Some((1, 100_000));
            server.behaviour().retry_after = Some("0");
            folder.succeed(&["model", "add", &server.url("/tiny.gguf")]);
            assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
            let requests = server.requests();
            assert_eq!(requests.len(), at_first + after_cut + 2);
            let sent = requests.iter().map(|request| request.sent).sum::<usize>();
            assert!(sent < tiny().len() + 1000, "{sent}");
        }
    }
}

#[test]
fn statuses_that_do_not_pass_end_it() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().status = Some((usize::MAX, "503 Service Unavailable"));
    server.behaviour().retry_after = Some("0");
    folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert_eq!(server.requests().len(), 6);
    // Nobody waits for so long.
    for after in ["90", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        server.behaviour().retry_after = Some(after);
        let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
        assert!(told.contains("as the server asks"), "{told}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn what_a_further_run_finds_is_told() {
    for (version, ranges, tags_parts, cuts, finds) in [
        (Version::Tag, true, true, 2, "it goes on from there"),
        (
            Version::Tag,
            false,
            true,
            2,
            "does not send the rest of a file",
        ),
        (
            Version::Tag,
            true,
            false,
            3,
            "does not send the rest of a file",
        ),
        (
            Version::Nothing,
            true,
            true,
            1,
            "does not tell versions of the file apart",
        ),
    ] {
        let folder = Folder::new();
        let server = Server::new(&[("/tiny.gguf", &tiny())]);
        server.behaviour().version = version;
        server.behaviour().ranges = ranges;
        server.behaviour().tags_parts = tags_parts;
        server.behaviour().cut = Some((cuts, 100_000));
        refuse_after_cut(&server);
        let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
        assert!(told.contains(finds), "{told}");
    }
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
fn what_another_source_left_stays_until_there_is_something_else() {
    let folder = Folder::new();
    let server = Server::new(&[("/a.gguf", &tiny()), ("/page.gguf", PAGE.as_bytes())]);
    let add = |source: &str| ["model", "add", source, "--name", "u"].map(str::to_string);
    let fail = |source: &str| folder.fail(&add(source).each_ref().map(String::as_str));
    let succeed = |source: &str| folder.succeed(&add(source).each_ref().map(String::as_str));
    folder.write("junk.gguf", "GGUF, but no more");
    folder.write("good.gguf", other());
    let url = server.url("/a.gguf");
    server.behaviour().cut = Some((1, 100_000));
    refuse_after_cut(&server);
    fail(&url);
    let is_kept = || folder.read("models/.part/u/u.gguf.part") == tiny()[..100_000];

    let told = fail(&server.url("/b.gguf"));
    assert!(told.contains("503 Service Unavailable"), "{told}");
    assert!(is_kept());
    recover(&server);
    for source in [
        &server.url("/missing.gguf"),
        &server.url("/missing-00001-of-00002.gguf"),
        &server.url("/page.gguf"),
        "http://127.0.0.1:1/tiny.gguf",
        "junk.gguf",
    ] {
        fail(source);
        assert!(is_kept(), "{source}");
    }
    let zeros = "0".repeat(64);
    folder.fail(&[
        "model",
        "add",
        "good.gguf",
        "--name",
        "u",
        "--sha256",
        &zeros,
    ]);
    assert!(is_kept());
    // A page in the file's own place is none of its versions.
    let page = |content: &[u8]| {
        let path = "/a.gguf".to_string();
        server.behaviour().files.insert(path, content.to_vec());
    };
    page(PAGE.as_bytes());
    fail(&url);
    assert!(is_kept());
    page(&tiny());
    server.requests();
    succeed(&url);
    assert_eq!(server.requests()[0].header("range"), Some("bytes=100000-"));
    assert_eq!(folder.read("models/u/u.gguf"), tiny());

    // What arrives takes the place.
    folder.succeed(&["model", "remove", "u"]);
    folder.write("models/.part/u/u-00001-of-00002.gguf.part", "GGUF");
    folder.write("models/.part/u/u.gguf.part", "GGUF");
    succeed("good.gguf");
    assert_eq!(folder.stored(), ["u", "u/manifest.json", "u/u.gguf"]);
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
        ("429 Too Many Requests", "try again in 60 minutes"),
        ("503 Service Unavailable", "try again in 60 minutes"),
        ("204 No Content", "check the URL"),
        ("206 Partial Content", "check the URL"),
        ("416 Range Not Satisfiable", "check the URL"),
    ] {
        server.behaviour().status = Some((usize::MAX, status));
        server.behaviour().retry_after = Some("3600");
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
fn a_bad_part_of_a_split_model_is_the_only_one_that_is_not_kept() {
    let parts = parts();
    let paths = [1, 2, 3].map(|number| format!("/big-0000{number}-of-00003.gguf"));
    let damaged = &parts[2][..parts[2].len() - 100];
    let digest = |content: &[u8]| {
        let folder = Folder::new();
        folder.write("file", content);
        sha256(&folder, "file")
    };
    let digests = [digest(&parts[0]), digest(&parts[1]), digest(&parts[2])];
    for with_digests in [false, true] {
        let folder = Folder::new();
        let server = Server::new(&[
            (&paths[0], &parts[0]),
            (&paths[1], &parts[1]),
            (&paths[2], damaged),
        ]);
        let url = server.url(&paths[0]);
        let mut add = vec!["model", "add", &url];
        if with_digests {
            add.extend(digests.iter().flat_map(|digest| ["--sha256", digest]));
        }
        let told = folder.fail(&add);
        assert!(told.contains(&server.url(&paths[2])), "{told}");
        assert!(!told.contains(&server.url(&paths[0])), "{told}");
        let mut kept = folder.stored();
        kept.retain(|name| name.ends_with(".part"));
        assert_eq!(
            kept,
            [
                ".part/big/big-00001-of-00003.gguf.part",
                ".part/big/big-00002-of-00003.gguf.part"
            ]
        );
        let good = parts[2].clone();
        server.behaviour().files.insert(paths[2].clone(), good);
        server.requests();
        folder.succeed(&add);
        let sent: Vec<_> = server.requests().iter().map(|r| r.sent).collect();
        assert_eq!(sent, [0, 0, parts[2].len()]);
    }
}

#[test]
fn a_name_that_promises_more_parts_than_there_are() {
    let folder = Folder::new();
    let parts = parts();
    let path = "/big-00001-of-99999.gguf";
    let server = Server::new(&[(path, &parts[0]), ("/big-00002-of-99999.gguf", &parts[1])]);
    let told = folder.fail(&["model", "add", &server.url(path)]);
    assert!(
        told.contains("expected part 1 of 99999 of a split model; found part 1 of 3"),
        "{told}"
    );
    assert_eq!(server.requests().len(), 1);
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn a_server_that_sends_more_than_it_announced() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    interrupt(&folder, &server, &url, 100_000);
    server.behaviour().excess = 1;
    server.behaviour().tells_length = false;
    let told = folder.fail(&["model", "add", &url]);
    assert!(
        told.contains("sends more of the file than it announced"),
        "{told}"
    );
    assert!(told.contains(&format!("{} bytes", tiny().len())), "{told}");
    assert_eq!(folder.stored(), [""; 0]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_part_that_does_not_say_of_which_version_it_is() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    interrupt(&folder, &server, &url, 100_000);
    server.behaviour().heeds_conditions = false;
    server.behaviour().tags_parts = false;
    server
        .behaviour()
        .files
        .insert("/tiny.gguf".to_string(), other());
    folder.succeed(&["model", "add", &url]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), other());

    // A date need not be repeated.
    let folder = Folder::new();
    server.behaviour().version = Version::Date;
    interrupt(&folder, &server, &url, 100_000);
    folder.succeed(&["model", "add", &url]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), other());
}

#[test]
fn a_length_that_is_first_told_with_a_part() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    let remote =
        serde_json::json!({ "url": url, "validator": { "etag": server.tag("/tiny.gguf") } });
    folder.write("models/.part/tiny/tiny.gguf.part", &tiny()[..100_000]);
    folder.write("models/.part/tiny/tiny.gguf.json", remote.to_string());
    interrupt(&folder, &server, &url, 50_000);
    let remote: serde_json::Value =
        serde_json::from_slice(&folder.read("models/.part/tiny/tiny.gguf.json")).expect("JSON");
    assert_eq!(remote["size"], tiny().len());
    folder.succeed(&["model", "add", &url]);
    assert_eq!(server.requests()[0].header("range"), Some("bytes=150000-"));
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
}

#[test]
fn a_file_for_which_no_disk_has_room() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    server.behaviour().claims = Some(1 << 60);
    let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
    assert!(told.contains("cannot write"), "{told}");
    assert!(
        told.contains("room for 1048576.0 TiB; the disk has"),
        "{told}"
    );
    assert!(told.contains("LLM_WASI_MODELS"), "{told}");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn a_file_that_is_not_sent_as_it_is() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    let url = server.url("/tiny.gguf");
    server.behaviour().encoding = Some("gzip");
    let told = folder.fail(&["model", "add", &url]);
    assert!(told.contains("the content encoding `gzip`"), "{told}");
    assert_eq!(folder.stored(), [""; 0]);
    server.behaviour().encoding = Some("Identity");
    folder.succeed(&["model", "add", &url]);
}

#[test]
fn redirects_to_what_is_no_server_are_refused() {
    let folder = Folder::new();
    let server = Server::new(&[]);
    for location in ["file:///etc/passwd", "ftp://host/tiny.gguf", "http://[bad"] {
        server
            .behaviour()
            .redirects
            .insert("/tiny.gguf".to_string(), location.to_string());
        let told = folder.fail(&["model", "add", &server.url("/tiny.gguf")]);
        assert!(told.contains(&format!("leads to `{location}`")), "{told}");
        assert_eq!(server.requests().len(), 1);
        assert_eq!(folder.stored(), [""; 0]);
    }
}

#[test]
fn what_is_being_added_is_not_called_unfinished() {
    let folder = Folder::new();
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    // Until somebody ends it.
    server.behaviour().pace = Duration::from_secs(3600);
    let mut adding = folder
        .command(&["model", "add", &server.url("/tiny.gguf")])
        .spawn()
        .expect("the program starts");
    while server.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let told = text(&folder.run(&["model", "verify"]).stdout);
    let (listed, _) = folder.succeed(&["model", "list"]);
    adding.kill().expect("it is there");
    adding.wait().expect("it ends");
    for told in [told, listed] {
        assert!(
            told.contains("problem: it is being added just now"),
            "{told}"
        );
    }
    let (listed, _) = folder.succeed(&["model", "list"]);
    assert!(listed.contains("problem: it is unfinished"), "{listed}");
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
    for (source, extension) in [("tiny.gguf", "copy"), (&url, "part")] {
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
            told.contains(&format!(
                "cannot write models/.part/tiny/tiny.gguf.{extension}"
            )),
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
