//! The data directory: whose it is, and what happens when it cannot be used.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::clean_stop::{fill, numbered};
use crate::full_disk::Tmpfs;
use crate::program::Home;

#[test]
fn it_is_its_owners_alone() {
    let home = Home::new();
    let program = home.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fill(&program, "q", numbered(10));
    program.stop();
    for (path, contents) in tree(home.data()) {
        let expected = if contents.is_none() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    assert_eq!(mode(home.data()), 0o700);
}

#[test]
fn a_second_broker_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(10));
    let (status, log) = home.start_in_vain();
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "data directory {} is in use by another process",
        home.data().display()
    );
    assert!(log.trim_end().ends_with(&expected), "{log}");
    fill(&program, "q", numbered(10));
    program.kill();
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (20, 0));
}

#[test]
fn a_directory_may_be_moved() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(1000));
    program.kill();
    let place = tempfile::tempdir().unwrap();
    let elsewhere = place.path().join("elsewhere");
    fs::rename(home.data(), &elsewhere).unwrap();
    let moved = Home::with_data(elsewhere);
    let program = moved.start();
    let bodies = program.connect().drain("q");
    assert_eq!(bodies, numbered(1000).collect::<Vec<_>>());
}

#[test]
fn files_of_an_unknown_version_are_refused_and_left_alone() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(100));
    program.stop();
    let files: Vec<_> = tree(home.data())
        .into_iter()
        // Room that is kept for a full disk says nothing.
        .filter(|(path, _)| !path.ends_with("log/reserve"))
        .filter_map(|(path, contents)| Some((path, contents.filter(|it| !it.is_empty())?)))
        .collect();
    assert!(files.len() >= 2, "definitions and the log");
    for (path, contents) in files {
        fs::write(&path, of_a_later_version(&contents)).unwrap();
        let before = tree(home.data());
        let (status, log) = home.start_in_vain();
        assert_eq!(status.code(), Some(1), "{}: {log}", path.display());
        assert!(log.contains("version"), "{}: {log}", path.display());
        assert!(
            tree(home.data()) == before,
            "{} was changed",
            path.display()
        );
        fs::write(&path, &contents).unwrap();
    }
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (100, 0));
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_that_says_so() {
    let Some(disk) = Tmpfs::mount("1m") else {
        return;
    };
    disk.remount_read_only();
    let home = Home::with_data(disk.path().join("data"));
    let (status, log) = home.start_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("Read-only file system"), "{log}");
    assert!(log.contains(&*disk.path().to_string_lossy()), "{log}");
}

#[test]
fn a_directory_that_became_read_only_is_an_error_and_is_fine_again_later() {
    let Some(disk) = Tmpfs::mount("64m") else {
        return;
    };
    let home = Home::with_data(disk.path().join("data"));
    let program = home.start();
    fill(&program, "q", numbered(100));
    program.stop();
    disk.remount_read_only();
    let (status, log) = home.start_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("Read-only file system"), "{log}");
    disk.remount_writable();
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (100, 0));
}

#[test]
fn a_file_in_its_place_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "not a directory").unwrap();
    let (status, log) = Home::with_data(path.clone()).start_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&*path.to_string_lossy()), "{log}");
    assert_eq!(fs::read(&path).unwrap(), b"not a directory");
}

#[test]
fn a_check_tells_what_is_there_and_changes_nothing() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(100));
    let (status, _, log) = home.check();
    assert_eq!(status.code(), Some(1), "it is in use");
    assert!(log.contains("in use by another process"), "{log}");
    program.stop();
    let before = tree(home.data());
    for _ in 0..2 {
        let (status, report, log) = home.check();
        assert_eq!(status.code(), Some(0), "{report}{log}");
        let expected = "messages: 100 unacked, 100 copies in 1 queues";
        assert!(report.contains(expected), "{report}");
    }
    assert!(tree(home.data()) == before, "it was changed");
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (100, 0));
}

/// Everything in a directory: folders, and files with their contents.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut tree = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tree.extend(self::tree(&path));
            tree.insert(path, None);
        } else {
            let contents = fs::read(&path).unwrap();
            tree.insert(path, Some(contents));
        }
    }
    tree
}

/// The header's version is behind eight bytes that say whose file it is, and its checksum is last: of
/// all the format, this stays for ever.
fn of_a_later_version(file: &[u8]) -> Vec<u8> {
    let mut later = file.to_owned();
    later[8] += 1;
    let checksum = crc32fast::hash(&later[..60]);
    later[60..64].copy_from_slice(&checksum.to_le_bytes());
    later
}
