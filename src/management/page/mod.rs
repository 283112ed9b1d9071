//! The web page: files that are part of the program, as they stand beside this one. There is no build step,
//! and nothing in them asks any other server.
//!
//! `index.html` loads `app.js`, which names every view; a view is a function in `views/` that fills a
//! `Page` (page.js). All they know of the broker they ask the API for (api.js).

use super::http::{Body, Method, Request, Response};
use super::{Answer, Refusal};

/// Answers a request for anything that is not the API.
///
/// # Errors
/// There is no such file, or it is not only asked for.
pub fn answer(request: &Request, path: &[&str]) -> Answer {
    let name = match path {
        [] | [""] => "index.html".to_owned(),
        path => path.join("/"),
    };
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or(Refusal::NotFound)?;
    if !matches!(request.method, Method::Get | Method::Head) {
        return Err(Refusal::MethodNotAllowed("GET, HEAD"));
    }
    Ok(file.response(request))
}

struct File {
    name: &'static str,
    bytes: &'static [u8],
}

impl File {
    /// Browsers keep it, and ask whether it is still the same; it changes with the program.
    fn response(&self, request: &Request) -> Response {
        let tag = format!("\"{:08x}\"", crc32fast::hash(self.bytes));
        let is_known = request.header("if-none-match") == Some(tag.as_str());
        let (status, body) = if is_known {
            (304, Body::Bytes(Vec::new()))
        } else {
            (200, self.body())
        };
        let response = Response {
            status,
            headers: Vec::new(),
            content_type: self.content_type(),
            body,
        };
        response
            .with("etag", tag)
            .with("cache-control", "no-cache")
            .with("content-security-policy", POLICY)
            .with("x-content-type-options", "nosniff")
            .with("x-frame-options", "DENY")
            .with("referrer-policy", "no-referrer")
    }

    /// What is for people who read it here is left out on its way.
    fn body(&self) -> Body {
        match (self.is_code(), std::str::from_utf8(self.bytes)) {
            (true, Ok(text)) => Body::Bytes(lean(text).into_bytes()),
            _ => Body::Static(self.bytes),
        }
    }

    fn is_code(&self) -> bool {
        self.name.ends_with(".js") || self.name.ends_with(".css")
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        }
    }
}

/// Without what stands before lines, without empty lines and those that are comments. No text of ours goes on in
/// another line.
fn lean(text: &str) -> String {
    let mut lean = String::with_capacity(text.len());
    let mut is_comment = false;
    for line in text.lines().map(str::trim) {
        is_comment |= line.starts_with("/*");
        if !is_comment && !line.is_empty() && !line.starts_with("//") {
            lean.push_str(line);
            lean.push('\n');
        }
        is_comment &= !line.ends_with("*/");
    }
    lean
}

/// Nothing but these files and the API: no foreign address, no script or style inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal)*) => {
        &[$(File { name: $name, bytes: include_bytes!($name) }),*]
    };
}

const FILES: &[File] = files! {
    "api.js" "app.js" "arguments.js" "base.css" "catalogue.js" "chart.js" "dom.js" "form.js"
    "format.js" "frame.js" "hare.svg" "icons.js" "index.html" "list.js" "message.js" "notice.js"
    "page.js" "parts.css" "parts.js" "poll.js" "publish.js" "pulse.js" "router.js" "samples.js"
    "session.js" "table.js" "theme.js" "vhosts.js" "views/bindings.js" "views/browser.js"
    "views/channel.js" "views/channels.js" "views/connection.js" "views/connections.js"
    "views/consumers.js" "views/definitions.js" "views/exchange.js" "views/exchanges.js"
    "views/limits.js" "views/log.js" "views/login.js" "views/overview.js" "views/permissions.js"
    "views/policies.js" "views/queue.js" "views/queue_overview.js" "views/queues.js" "views/user.js"
    "views/users.js" "views/vhost.js" "views/vhosts.js"
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Enough for what it does; a page that grows beyond it is loaded slowly on a phone.
    const BYTES_MAX: usize = 175 << 10;
    /// Of what the overview needs; views are loaded when they are wanted.
    const FIRST_BYTES_MAX: usize = 90 << 10;

    #[test]
    fn every_file_is_served_and_none_is_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/management/page");
        let mut there = BTreeSet::new();
        for folder in [root.clone(), root.join("views")] {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                if path.is_file() && name != "mod.rs" {
                    there.insert(name.to_owned());
                }
            }
        }
        let served: BTreeSet<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(served, there);
    }

    #[test]
    fn the_page_stays_small() {
        let size: usize = FILES.iter().map(size_of).sum();
        assert!(size <= BYTES_MAX, "{size}");
        let mut first = BTreeSet::new();
        for name in ["index.html", "base.css", "parts.css", "hare.svg"] {
            first.insert(name.to_owned());
        }
        add_with_imports("app.js", &mut first);
        add_with_imports("views/overview.js", &mut first);
        let first = FILES.iter().filter(|file| first.contains(file.name));
        let size: usize = first.map(size_of).sum();
        assert!(size <= FIRST_BYTES_MAX, "{size}");
    }

    fn size_of(file: &File) -> usize {
        match file.body() {
            Body::Bytes(bytes) => bytes.len(),
            Body::Static(bytes) => bytes.len(),
            Body::Stream(_) => 0,
        }
    }

    fn add_with_imports(name: &str, to: &mut BTreeSet<String>) {
        if !to.insert(name.to_owned()) {
            return;
        }
        let file = FILES.iter().find(|file| file.name == name);
        let text = std::str::from_utf8(file.expect(name).bytes).unwrap();
        let imports = text.split("from \"").skip(1);
        for import in imports.filter_map(|rest| rest.split('"').next()) {
            let folder = if import.starts_with("../") {
                ""
            } else {
                "views/"
            };
            let folder = if name.starts_with("views/") {
                folder
            } else {
                ""
            };
            let base = import.trim_start_matches("../").trim_start_matches("./");
            add_with_imports(&format!("{folder}{base}"), to);
        }
    }

    #[test]
    fn what_is_left_out_means_nothing() {
        let text = "// why\nconst a = `x // y`;\n\n  /** One. */\n  /*\n   two\n  */\n  f(a);\n";
        assert_eq!(lean(text), "const a = `x // y`;\nf(a);\n");
        for file in FILES.iter().filter(|file| file.is_code()) {
            let text = String::from_utf8_lossy(file.bytes);
            for line in text.lines() {
                // A text that went on in the next line would lose what that begins with.
                let marks = line.matches('`').count();
                assert!(
                    marks % 2 == 0 && !line.ends_with('\\'),
                    "{}: {line}",
                    file.name
                );
                // What follows a comment in its line would be lost.
                let begins = line.trim_start().starts_with("/*");
                let ends = line
                    .find("*/")
                    .is_some_and(|at| at + 2 < line.trim_end().len());
                assert!(!(begins && ends), "{}: {line}", file.name);
            }
        }
    }

    #[test]
    fn what_is_known_already_is_not_sent_again() {
        let first = answer(&get(&[], None), &[]).ok().unwrap();
        assert_eq!(first.status, 200);
        let tag = first.headers.iter().find(|(name, _)| *name == "etag");
        let tag = tag.map(|(_, tag)| tag.as_str());
        let second = answer(&get(&[], tag), &[]).ok().unwrap();
        assert_eq!(second.status, 304);
        let path = ["views", "queue.js"];
        assert_eq!(answer(&get(&path, None), &path).ok().unwrap().status, 200);
        let path = ["..", "mod.rs"];
        assert!(answer(&get(&path, None), &path).is_err());
    }

    #[test]
    fn nothing_in_it_is_made_of_markup_or_asks_outside() {
        for file in FILES {
            let text = String::from_utf8_lossy(file.bytes);
            for word in [
                "innerHTML",
                "outerHTML =",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!text.contains(word), "{} has {word}", file.name);
            }
            let outside = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !outside.contains("http://") && !outside.contains("https://"),
                "{}",
                file.name
            );
        }
    }

    fn get(path: &[&str], tag: Option<&str>) -> Request {
        let headers = tag.map(|tag| ("if-none-match".to_owned(), tag.to_owned()));
        Request {
            method: Method::Get,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            headers: headers.into_iter().collect(),
            body: Vec::new(),
            keep_alive: true,
        }
    }
}
