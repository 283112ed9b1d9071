//! Definitions that the configuration names, read and set before anybody is let in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::management::definitions::{Definitions, import_at_start};
use crate::protocol::Hub;

/// Sets what a file defines, or all files of a directory in the order of their names (RabbitMQ:
/// `load_definitions`).
///
/// # Errors
/// A file that cannot be read or understood, or that defines what cannot be: `definitions in
/// /etc/leveret/definitions.json: users[0]: tags_not_present`.
pub(super) fn load(path: &Path, hub: &mut Hub) -> io::Result<()> {
    let mut all = Definitions::default();
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        io::Error::other(format!("definitions in {}: {why}", path.display()))
    };
    for file in files(path).map_err(|error| wrong(path, &error))? {
        let text = fs::read(&file).map_err(|error| wrong(&file, &error))?;
        let read = Definitions::read(&text, None);
        all.add(read.map_err(|refusal| wrong(&file, &refusal.text()))?);
    }
    let imported = import_at_start(hub, all).map_err(|why| wrong(path, &why))?;
    for remark in &imported.remarks {
        log::warn!("definitions: {remark}");
    }
    let changed = imported.changes.len();
    log::info!(
        "definitions loaded from {}: {changed} changes",
        path.display()
    );
    Ok(())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
