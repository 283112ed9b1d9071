//! The house rules that can be checked by reading: floors hold, and what only one room may know stays in
//! that room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rooms by floor. `use` looks down, or sideways within its floor.
const FLOORS: [&[&str]; 5] = [
    &["wire", "config", "slots", "log_tap"],
    &["broker", "store"],
    &["protocol", "management"],
    &["server", "embedded"],
    &[
        "main",
        "bin",
        "arguments",
        "detach",
        "host",
        "lib",
        "logging",
        "pid_file",
        "start_pages",
        "reload",
        "settings",
    ],
];

/// Words that only these places may use, and why.
const KNOWN_ONLY_IN: [(&str, &[&str], &str); 7] = [
    (
        "rustls",
        &["src/server/tls/", "src/bin/leveretctl/tls.rs"],
        "nothing above notices TLS",
    ),
    (
        "mio::",
        &["src/server/", LOAD],
        "sockets belong to the loop, and to the load",
    ),
    (
        "std::fs",
        &[
            "src/store/",
            LOAD,
            "src/server/unix_socket.rs",
            "src/server/measure.rs",
            "src/server/vitals.rs",
            "src/server/tls/context.rs",
            "src/server/tls/stream/tests.rs",
            "src/server/definitions_file.rs",
            "src/detach.rs",
            "src/logging/",
            "src/pid_file.rs",
            "src/start_pages.rs",
            "src/settings.rs",
            "src/bin/",
        ],
        "files belong to the store, but for the Unix socket, certificates, definitions, the gauges of the system and the program around it",
    ),
    (
        "Instant::now",
        &["src/server/", "src/store/", "src/bin/"],
        "the time is told, not asked for",
    ),
    (
        "SystemTime::now",
        &["src/server/", LOAD],
        "the time is told, not asked for",
    ),
    (
        "getrandom",
        &["src/server/entropy.rs"],
        "chance comes in at the door",
    ),
    ("todo!", &[], "nothing is left for later"),
];

/// A program of its own, which measures brokers from outside.
const LOAD: &str = "src/bin/leveretperf/";

#[test]
fn rooms_look_down_or_sideways() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let Some(floor) = floor_of(&room(&path)) else {
            faults.push(format!("{} is in no room", path.display()));
            continue;
        };
        for (number, line) in production(&text) {
            let Some(rest) = line.split("crate::").nth(1) else {
                continue;
            };
            let used: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if floor_of(&used).is_some_and(|used| used > floor) {
                faults.push(format!(
                    "{}:{number} looks up: {}",
                    path.display(),
                    line.trim()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_core_does_not_know_the_store() {
    let faults: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/broker"))
        .filter(|(_, text)| text.contains("crate::store"))
        .map(|(path, _)| path)
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn what_one_room_knows_stays_there() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (word, places, why) in KNOWN_ONLY_IN {
            if places.iter().any(|place| path.starts_with(place)) {
                continue;
            }
            for (number, line) in production(&text).filter(|(_, line)| line.contains(word)) {
                let line = line.trim();
                faults.push(format!("{}:{number} {word}: {why}: {line}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let faults: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn files_stay_readable() {
    const LINES_MAX: usize = 1000;
    let faults: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| production(text).count() > LINES_MAX)
        .map(|(path, _)| path)
        .collect();
    assert!(faults.is_empty(), "look for the seam: {faults:?}");
}

/// Of everything that a build for this machine takes, tests included.
#[test]
fn dependencies_have_licences_that_ask_for_nothing_but_their_names() {
    let told = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.args(arguments).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {why}");
        String::from_utf8(output.stdout).unwrap()
    };
    let compiler = told("rustc", &["-vV"]);
    let host = compiler.lines().find_map(|it| it.strip_prefix("host: "));
    // What is built here is here, so nothing need be fetched.
    let arguments = "metadata --format-version 1 --locked --offline --filter-platform";
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.push(host.unwrap());
    let metadata = told(env!("CARGO"), &arguments);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    let faults: Vec<_> = packages
        .iter()
        .filter(|it| !is_permissive(it["license"].as_str().unwrap_or("none")))
        .map(|it| format!("{}: {}", it["name"], it["license"]))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An SPDX expression; OR binds less than AND, unless it stands in parentheses.
fn is_permissive(licence: &str) -> bool {
    let licence = licence.replace('/', " OR ");
    if licence.contains('(') {
        let mut parts = licence.split(" AND ");
        return parts.all(|part| is_permissive(part.trim_matches(['(', ')', ' '])));
    }
    licence.split(" OR ").any(|alternative| {
        let mut parts = alternative.split(" AND ");
        parts.all(|part| PERMISSIVE.contains(&part.trim()))
    })
}

const PERMISSIVE: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Lines of code up to the unit tests, without comments.
fn production(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

fn room(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("a source");
    let first = inside.components().next().expect("not empty");
    let first = first.as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found
}
